/**
 * Traces: what is sent carries the context of its trace in its headers, and a task is a span of it, through `@opentelemetry/api` where the program has that package
 * (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ for names and attributes). Where nobody has set up tracing it costs next to nothing.
 */
import { createRequire } from 'node:module';
import type * as OpenTelemetry from '@opentelemetry/api';
import type { TaskContext } from './context.js';

const NAME = '@lovage/client';
const api = load();

function load(): typeof OpenTelemetry | null {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as typeof OpenTelemetry;
  } catch {
    // The program does not trace.
    return null;
  }
}

/** null while nobody has set up tracing, also where the package is there. */
function tracerOf(found: typeof OpenTelemetry | null): OpenTelemetry.Tracer | null {
  const provider = found?.trace.getTracerProvider() as Partial<OpenTelemetry.ProxyTracerProvider> | undefined;
  // What is set up stands behind a proxy.
  if (provider?.getDelegateTracer === undefined) return provider?.getTracer?.(NAME) ?? null;
  return provider.getDelegateTracer(NAME) ?? null;
}

/** Headers with the context of the trace that is active here. What the sender has given wins. */
export function withTrace(headers: Record<string, unknown>): Record<string, unknown> {
  if (api === null || tracerOf(api) === null) return headers;
  const carrier: Record<string, unknown> = {};
  api.propagation.inject(api.context.active(), carrier);
  return { ...carrier, ...headers };
}

/** Runs a task's function as a span of the trace that its headers name. */
export function traced(ctx: TaskContext, run: () => unknown): unknown {
  const tracer = tracerOf(api);
  if (api === null || tracer === null) return run();
  const { propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode } = api;
  const parent = propagation.extract(ROOT_CONTEXT, ctx.headers);
  const attributes = {
    'messaging.system': 'lovage',
    'messaging.operation.type': 'process',
    'messaging.destination.name': ctx.queue,
    'messaging.message.id': String(ctx.id),
    'lovage.task': ctx.name,
    'lovage.attempt': ctx.attempt,
  };
  const options = { kind: SpanKind.CONSUMER, attributes };
  return tracer.startActiveSpan(`process ${ctx.name}`, options, parent, async (span) => {
    try {
      return await run();
    } catch (error) {
      span.recordException(error instanceof Error ? error : String(error));
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}
