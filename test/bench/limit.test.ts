import { CLIENT_OPS, SERVER_OPS } from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frameProfile } from '../../bench/limit/frame-profile.js';
import { ShareCounter } from '../../bench/limit/share-counter.js';
import { windowFrames } from '../../bench/limit/window-frames.js';
import { type FrameTotals, framesBetween, sumFrames } from '../../bench/load/frame-counter.js';
import { throughputResult } from './results.js';

describe('windowFrames', () => {
  test('fills a window that is no multiple of a frame with a smaller last one', () => {
    expect(windowFrames(1_000, 500)).toEqual([500, 500]);
    expect(windowFrames(1_000, 507)).toEqual([507, 493]);
    expect(windowFrames(300, 507)).toEqual([300]);
  });

  test('makes no frame of what rounding has left', () => {
    expect(windowFrames(0.4, 500)).toEqual([]);
    expect(windowFrames(0, 500)).toEqual([]);
    expect(windowFrames(-3, 500)).toEqual([]);
  });

  test('leaves less than a message free, and never exceeds a frame or the window', () => {
    const window = fc.double({ min: 0, max: 2_000, noNaN: true });
    fc.assert(
      fc.property(window, fc.double({ min: 0.6, max: 2_000, noNaN: true }), (free, perFrame) => {
        const frames = windowFrames(free, perFrame);
        const sum = frames.reduce((total, count) => total + count, 0);
        expect(Math.max(0, ...frames)).toBeLessThanOrEqual(perFrame);
        expect(sum).toBeLessThanOrEqual(free + 1e-6);
        expect(free - sum).toBeLessThan(0.5 + 1e-6);
      }),
    );
  });
});

describe('ShareCounter', () => {
  test('gives whole frames whose sum stays within one of the share', () => {
    const share = fc.double({ min: 0, max: 5, noNaN: true });
    fc.assert(
      fc.property(share, fc.array(fc.nat(20), { maxLength: 100 }), (perOther, additions) => {
        const counter = new ShareCounter(perOther);
        let others = 0;
        let frames = 0;
        for (const count of additions) {
          others += count;
          frames += counter.add(count);
          expect(Math.abs(frames - others * perOther)).toBeLessThanOrEqual(1 + 1e-6);
        }
      }),
    );
  });
});

describe('frames by their op', () => {
  const earlier: FrameTotals = { 3: { frames: 2, bytes: 20 } };
  const later: FrameTotals = { 3: { frames: 5, bytes: 80 }, 8: { frames: 1, bytes: 7 } };

  test('between two looks are what came in between, of ops that were not there before as well', () => {
    expect(framesBetween(earlier, later)).toEqual({ 3: { frames: 3, bytes: 60 }, 8: { frames: 1, bytes: 7 } });
  });

  test('of several processes are added up', () => {
    expect(sumFrames([earlier, later])).toEqual({ 3: { frames: 7, bytes: 100 }, 8: { frames: 1, bytes: 7 } });
  });
});

describe('frameProfile', () => {
  const producers = {
    messages: 1_000,
    frames: {
      sent: { [CLIENT_OPS.PUBLISH]: { frames: 4, bytes: 280_000 } },
      received: { [SERVER_OPS.CONFIRM]: { frames: 2, bytes: 40 } },
    },
  };
  const consumers = {
    messages: 900,
    frames: {
      sent: { [CLIENT_OPS.START]: { frames: 3, bytes: 45 }, [CLIENT_OPS.ACK]: { frames: 3, bytes: 45 } },
      received: {
        [SERVER_OPS.DELIVER]: { frames: 3, bytes: 270_000 },
        [SERVER_OPS.SETTLED]: { frames: 3, bytes: 27 },
      },
    },
  };

  test('has mean sizes, and how many frames one entails', () => {
    expect(frameProfile(throughputResult({ producers, consumers }))).toEqual({
      publish: { messages: 250, bytes: 70_000 },
      confirm: { perFrame: 0.5, bytes: 20 },
      deliver: { messages: 300, bytes: 90_000 },
      ack: { perFrame: 2, bytes: 15 },
      settled: { perFrame: 0.5, bytes: 9 },
    });
  });

  test('is refused without frames to go by', () => {
    const none = { messages: 0, frames: { sent: {}, received: {} } };
    expect(() => frameProfile(throughputResult({ producers: none, consumers }))).toThrow(/Cannot tell the limit/);
  });
});
