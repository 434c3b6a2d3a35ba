/** The time at which a message was due, in the first 8 bytes of its body; 0 for a message whose time nobody asks for. */
export const STAMP_BYTES = 8;

export function stamp(body: Uint8Array, dueMs: number): void {
  viewOf(body).setFloat64(0, dueMs);
}

export function stampOf(body: Uint8Array): number {
  return viewOf(body).getFloat64(0);
}

function viewOf(body: Uint8Array): DataView {
  return new DataView(body.buffer, body.byteOffset, STAMP_BYTES);
}
