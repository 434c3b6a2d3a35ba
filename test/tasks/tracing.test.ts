/** Traces through `@opentelemetry/api`, as a program that traces sees them. */
import { trace } from '@opentelemetry/api';
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';
import { expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { appOf, started } from './running.js';

test('a task is a span of the trace that has sent it, and so is what it sends', async () => {
  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  provider.register();
  const broker = await BrokerProcess.start();
  const app = appOf(broker, 'traces');
  const child = app.task(
    'child',
    (ctx) => {
      if (ctx.attempt === 1) throw new TypeError('on purpose');
      return ctx.headers.traceparent;
    },
    { retry: { max: 1, delayMs: 1 } },
  );
  const parent = app.task('parent', async () => await (await child.send()).result());
  await started(app);
  const [traceId, spanId, seen] = await trace.getTracer('test').startActiveSpan('request', async (span) => {
    const result = await (await parent.send()).result();
    span.end();
    return [span.spanContext().traceId, span.spanContext().spanId, result];
  });
  const spans = exporter.getFinishedSpans();
  const named = (name: string) => spans.filter((span) => span.name === name);
  const [outer] = named('process parent');
  expect(outer).toMatchObject({
    parentSpanContext: { spanId },
    attributes: { 'messaging.destination.name': 'default' },
  });
  const inner = named('process child');
  expect(inner.map(({ attributes, status }) => [attributes['lovage.attempt'], status.code])).toEqual([
    [1, 2],
    [2, 0],
  ]);
  expect(inner[0]!.events).toMatchObject([{ name: 'exception' }]);
  for (const span of [outer!, ...inner]) expect(span.spanContext().traceId).toBe(traceId);
  expect(inner[0]!.parentSpanContext?.spanId).toBe(outer!.spanContext().spanId);
  expect(seen).toContain(traceId);
  await provider.shutdown();
});
