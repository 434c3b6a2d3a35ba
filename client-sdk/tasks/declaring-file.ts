/** Which file declares a task, so that the children of a pool can load it. */
import { isAbsolute } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const HERE = new URL('.', import.meta.url).href;

/** URL of the file that has called into this package; null if the stack does not tell. Reads V8's own call sites (https://v8.dev/docs/stack-trace-api). */
export function declaringFile(): string | null {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 20;
    Error.prepareStackTrace = (_, sites) => sites;
    const sites = new Error('where').stack as unknown as NodeJS.CallSite[];
    const urls = sites.map((site) => urlOf(site.getFileName() ?? null));
    return urls.find((url) => url !== null && !url.startsWith(HERE)) ?? null;
  } finally {
    Error.prepareStackTrace = prepareStackTrace;
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** A file's URL, of a URL or an absolute path; null for what is no file. */
function urlOf(name: string | null): string | null {
  if (name === null) return null;
  if (name.startsWith('file:')) return pathToFileURL(fileURLToPath(name)).href;
  return isAbsolute(name) ? pathToFileURL(name).href : null;
}
