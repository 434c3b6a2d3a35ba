import { describe, expect, test } from 'vitest';
import { type Look, SliceMeter } from '../../bench/load/slice-meter.js';

function look(count: number, seconds: number, brokerCpuSeconds: number | null = 0): Look {
  return { count, seconds, brokerCpuSeconds };
}

describe('SliceMeter', () => {
  test('cuts at the first look that is a step or more behind the last cut', () => {
    const meter = new SliceMeter(100, look(0, 0));
    for (const [count, seconds] of [
      [60, 1],
      [130, 2],
      [200, 3],
      [240, 4],
    ] as const)
      meter.add(look(count, seconds));
    expect(meter.slices.map(({ from, messages }) => [from, messages])).toEqual([
      [0, 130],
      [130, 110],
    ]);
  });

  test('tells rate and CPU time of each slice by itself', () => {
    const meter = new SliceMeter(100, look(0, 0, 5));
    meter.add(look(100, 2, 5.001));
    meter.add(look(300, 3, 5.005));
    expect(meter.slices.map(({ perSecond }) => perSecond)).toEqual([50, 200]);
    expect(meter.slices[0]!.brokerMicros).toBeCloseTo(10);
    expect(meter.slices[1]!.brokerMicros).toBeCloseTo(20);
  });

  test('makes what is left at the end the last slice, and no empty one', () => {
    const meter = new SliceMeter(100, look(0, 0));
    meter.add(look(100, 1));
    meter.end(look(130, 2));
    meter.end(look(130, 3));
    expect(meter.slices.map(({ messages }) => messages)).toEqual([100, 30]);
  });

  test('has no CPU time where the system tells none', () => {
    const meter = new SliceMeter(1, look(0, 0, null));
    meter.add(look(1, 1, 3));
    expect(meter.slices[0]!.brokerMicros).toBeNull();
  });
});
