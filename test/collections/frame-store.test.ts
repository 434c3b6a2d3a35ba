import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameStore } from '../../server/collections/frame-store.js';

describe('FrameStore', () => {
  test('a frame stays until the last of its holds is released', () => {
    const store = new FrameStore();
    const frame = Uint8Array.of(1, 2, 3);
    const number = store.add(frame);
    store.hold(number);
    store.release(number);
    expect(store.get(number)).toBe(frame);
    expect(store.bytes).toBe(3);
    store.release(number);
    expect(store.bytes).toBe(0);
    expect(store.get(number)).toBeUndefined();
  });

  test('numbers are used again, and never for two frames at a time', () => {
    const step = fc.record({ add: fc.boolean(), size: fc.nat(20), pick: fc.nat(50) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const store = new FrameStore();
        const live = new Map<number, Uint8Array>();
        let most = 0;
        for (const { add, size, pick } of steps) {
          if (add) {
            const frame = new Uint8Array(size);
            const number = store.add(frame);
            expect(live.has(number)).toBe(false);
            live.set(number, frame);
          } else if (live.size > 0) {
            const number = [...live.keys()][pick % live.size]!;
            store.release(number);
            live.delete(number);
          }
          most = Math.max(most, live.size);
          for (const [number, frame] of live) {
            expect(store.get(number)).toBe(frame);
            expect(number).toBeLessThan(most);
          }
          expect(store.bytes).toBe([...live.values()].reduce((sum, { length }) => sum + length, 0));
        }
      }),
    );
  });
});
