// hot path
/** `contentType|nil, headers|nil, body`: what a message and a result have in common. The bytes go on as they are, so they are looked at where they come in. */
import type { ErrorCode } from './errors.js';
import type { FrameReader } from './frame-reader.js';
import { LIMITS } from './limits.js';

/** Bounds that the broker may set. */
export interface PayloadLimits {
  readonly bodyBytesMax: number;
  readonly headerBytesMax: number;
}

/** What is wrong with a well-formed frame: the broker refuses it whole with this code. */
export interface FrameProblem {
  readonly code: ErrorCode;
  readonly field: string;
  /** Index of the first message at fault. */
  readonly index: number;
}

/** Steps over a payload; `refuse` is told what is out of range. */
export function scanPayload(
  reader: FrameReader,
  limits: PayloadLimits,
  refuse: (code: ErrorCode, field: string) => void,
): void {
  if (!reader.nil()) scanContentType(reader, refuse);
  const headers = reader.position;
  reader.skipHeaders();
  const headerBytes = reader.position - headers;
  const bodyBytes = reader.binHeader('body');
  reader.position += bodyBytes;
  if (bodyBytes > limits.bodyBytesMax) refuse('BODY_TOO_LARGE', 'body');
  if (headerBytes > limits.headerBytesMax) refuse('HEADERS_TOO_LARGE', 'headers');
}

/** Text that a strict reader refuses would end its connection. */
function scanContentType(reader: FrameReader, refuse: (code: ErrorCode, field: string) => void): void {
  const length = reader.skipStr('contentType', 0xffff_ffff);
  if (length > LIMITS.contentTypeLengthMax) return refuse('INVALID_ARGUMENT', 'contentType');
  const { bytes, position } = reader;
  for (let at = position - length; at < position; at++)
    if (bytes[at]! < 0x20 || bytes[at]! > 0x7e) return refuse('INVALID_ARGUMENT', 'contentType');
}
