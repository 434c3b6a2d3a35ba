/** Mean numbers of messages are fractions; less than this is what rounding has left. */
const WHOLE_MESSAGE = 0.5;

/**
 * Fills what is free of a window: numbers of messages, a frame each. Frames are as large as those of the broker's client, and what is left goes in a
 * smaller one; with whole frames only, a part of the window would stay unused and the limit come out too low.
 */
export function windowFrames(free: number, messagesPerFrame: number): number[] {
  const frames: number[] = [];
  for (let left = free; left >= WHOLE_MESSAGE; left -= messagesPerFrame) frames.push(Math.min(left, messagesPerFrame));
  return frames;
}
