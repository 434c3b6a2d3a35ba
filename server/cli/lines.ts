/** Splits a stream of bytes into lines, many at a time, without decoding them. */
import { LovageError } from '@lovage/protocol';

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

/**
 * Yields the lines of each chunk together. A line ends with LF or CRLF, the last one perhaps with neither; what ends it is not part of it, and an empty
 * line is a line. Views lie in the chunks. Throws BODY_TOO_LARGE for a line above `lineBytesMax`, so that memory stays bounded.
 */
export async function* linesOf(chunks: AsyncIterable<Buffer>, lineBytesMax: number): AsyncGenerator<Buffer[]> {
  let open: Buffer[] = [];
  let openBytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LINE_FEED);
    openBytes += end < 0 ? chunk.length : 0;
    if (openBytes > lineBytesMax) throw tooLong(lineBytesMax);
    if (end < 0) {
      open.push(chunk);
      continue;
    }
    const whole = chunk.subarray(0, end + 1);
    yield split(open.length === 0 ? whole : Buffer.concat([...open, whole]));
    open = [chunk.subarray(end + 1)];
    openBytes = chunk.length - end - 1;
  }
  const last = Buffer.concat(open);
  if (last.length > 0) yield [last];
}

/** The lines of bytes that end with a line feed. */
function split(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  while (start < bytes.length) {
    const feed = bytes.indexOf(LINE_FEED, start);
    const end = feed > start && bytes[feed - 1] === CARRIAGE_RETURN ? feed - 1 : feed;
    lines.push(bytes.subarray(start, end));
    start = feed + 1;
  }
  return lines;
}

function tooLong(lineBytesMax: number): LovageError {
  return new LovageError('BODY_TOO_LARGE', `Cannot publish a line of more than ${lineBytesMax} bytes`);
}
