/** When publishers are held back, and when they are let on again. */
import { describe, expect, test } from 'vitest';
import { FlowGate, LOOK_MS, RETRY_AFTER_MS } from '../../server/broker/flow-gate.js';

function gateOf(limits: { readonly memoryBytesMax?: number; readonly diskFreeBytesMin?: number }) {
  const host = { memoryBytes: 0, freeBytes: 1_000, roomBytes: 1_000_000 };
  const gate = new FlowGate(
    {
      memoryBytesMax: limits.memoryBytesMax ?? Number.POSITIVE_INFINITY,
      diskFreeBytesMin: limits.diskFreeBytesMin ?? 0,
      diskFreeBytes: () => host.freeBytes,
    },
    () => host.memoryBytes,
    (bytes) => bytes <= host.roomBytes,
  );
  const told: (string | null)[] = [];
  gate.watch({ flowChanged: () => told.push(gate.reason) });
  return { gate, host, told };
}

describe('the flow gate', () => {
  test('holds publishers back from 80 % of the memory, refuses at 100 %, lets them on below 70 %', () => {
    const { gate, host, told } = gateOf({ memoryBytesMax: 1_000 });
    for (const [bytes, refusal, reason] of [
      [799, null, null],
      [800, null, 'memory'],
      [999, null, 'memory'],
      [1_000, 'FLOW_BLOCKED', 'memory'],
      [790, null, 'memory'],
    ] as const) {
      host.memoryBytes = bytes;
      expect(gate.refusal(), `${bytes}`).toBe(refusal);
      expect(gate.reason, `${bytes}`).toBe(reason);
    }
    for (const [bytes, reason] of [
      [700, 'memory'],
      [699, null],
      [799, null],
      [800, 'memory'],
    ] as const) {
      host.memoryBytes = bytes;
      gate.look();
      expect(gate.reason, `${bytes}`).toBe(reason);
    }
    expect(told).toEqual(['memory', null, 'memory']);
    expect(gate.stats()).toMatchObject({ reason: 'memory', memoryBytes: 800, memoryBytesMax: 1_000, blocks: 2 });
  });

  test('holds publishers back while too little of the disk is free, and a quarter more before they are let on', () => {
    const { gate, host, told } = gateOf({ diskFreeBytesMin: 400 });
    for (const [freeBytes, reason] of [
      [400, null],
      [399, 'disk'],
      [499, 'disk'],
      [500, null],
      [400, null],
    ] as const) {
      host.freeBytes = freeBytes;
      gate.look();
      expect(gate.reason, `${freeBytes}`).toBe(reason);
    }
    expect(gate.refusal()).toBeNull();
    expect(told).toEqual(['disk', null]);
  });

  test('holds publishers back from the first one that found no room until there is some, if a least is asked for', () => {
    const { gate, host } = gateOf({ diskFreeBytesMin: 400 });
    host.roomBytes = 10;
    gate.foundNoRoom(100);
    expect(gate.reason).toBe('disk');
    const looks = (count: number) => Array.from({ length: count }, () => gate.look());
    looks(30);
    expect(gate.reason).toBe('disk');
    host.roomBytes = 100;
    gate.look();
    expect(gate.reason).toBeNull();
    // One that is larger than all the room that there can be is no reason for the others to wait on.
    host.roomBytes = 70_000;
    gate.foundNoRoom(1_000_000);
    looks(RETRY_AFTER_MS / LOOK_MS - 1);
    expect(gate.reason).toBe('disk');
    gate.look();
    expect(gate.reason).toBeNull();
    const off = gateOf({});
    Object.assign(off.host, { roomBytes: 0, freeBytes: 0 });
    off.gate.foundNoRoom(1);
    off.gate.look();
    expect(off.gate.reason).toBeNull();
  });

  test('names memory first, and the disk when only that is left', () => {
    const { gate, host, told } = gateOf({ memoryBytesMax: 1_000, diskFreeBytesMin: 400 });
    Object.assign(host, { memoryBytes: 900, freeBytes: 0 });
    gate.look();
    host.memoryBytes = 0;
    gate.look();
    host.freeBytes = 1_000;
    gate.look();
    expect(told).toEqual(['memory', 'disk', null]);
    expect(gate.stats().blocks).toBe(1);
  });

  test('has whoever is paused read from again at the next look, blocked or not', () => {
    const { gate, host } = gateOf({ memoryBytesMax: 1_000 });
    host.memoryBytes = 1_000;
    gate.look();
    let resumed = 0;
    gate.pause(() => resumed++);
    expect(resumed).toBe(0);
    gate.look();
    gate.look();
    expect(resumed).toBe(1);
    expect(gate.reason).toBe('memory');
  });
});
