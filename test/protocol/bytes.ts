import { LovageError } from '@lovage/protocol';
import { expect } from 'vitest';

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Bytes from hex; blanks are for the eye. */
export function unhex(text: string): Uint8Array {
  const clean = text.replaceAll(' ', '');
  if (!/^([0-9a-f]{2})*$/.test(clean)) throw new Error(`not hex: ${text}`);
  return new Uint8Array(Buffer.from(clean, 'hex'));
}

export function utf8(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

export function concat(...parts: (Uint8Array | string)[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts.map((part) => (typeof part === 'string' ? unhex(part) : part))));
}

/** The LovageError that `act` throws. Anything else that comes out fails the test. */
export function failure(act: () => unknown): LovageError {
  try {
    act();
  } catch (error) {
    if (error instanceof LovageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

export function expectCode(code: string, act: () => unknown): void {
  expect(failure(act).code).toBe(code);
}

/** Runs `act`; the only thing it may throw is BAD_FRAME. */
export function onlyBadFrame(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof LovageError) || error.code !== 'BAD_FRAME') throw error;
  }
}
