/** Frames: written and read, by the SDK and by the broker. */
import {
  beginDeliver,
  beginRun,
  CLIENT_OPS,
  endRun,
  FrameReader,
  FrameWriter,
  LIMITS,
  PublishBatch,
  readDeliver,
  SettleFrame,
  TagRanges,
  writeDeliveryHead,
  writeSettle,
} from '@lovage/protocol';
import { STANDARD } from '../load/standard.js';
import { FRAME_MESSAGES, PublishFrames } from './frames.js';
import type { Micro } from './micro.js';

const { bytes: unitBytes } = STANDARD;
const MESSAGES = { unit: 'message', unitsPerRun: FRAME_MESSAGES, unitBytes } as const;

export function codecMicros(seed: number): readonly Micro[] {
  const frames = new PublishFrames(seed);
  const published = frames.next();
  const batch = scanned(published);
  const writer = new FrameWriter(published.length * 2);
  const delivered = deliver(writer, batch);
  const reader = new FrameReader();
  let received = 0;
  const settle = new SettleFrame();
  const ranges = new TagRanges();
  return [
    { ...MESSAGES, name: 'PUBLISH, written', run: () => void frames.next() },
    { ...MESSAGES, name: 'PUBLISH, scanned', run: () => void batch.scan(reader.open(published), LIMITS) },
    { ...MESSAGES, name: 'DELIVER, written', run: () => void deliver(writer, batch) },
    {
      ...MESSAGES,
      name: 'DELIVER, read',
      run: () =>
        readDeliver(reader.open(delivered), (_, { body }) => {
          received += body.length;
        }),
      close: () => {
        if (received === 0) throw new Error('Cannot trust "DELIVER, read": no body had a byte');
      },
    },
    {
      ...MESSAGES,
      unitBytes: 0,
      name: 'ACK, one by one in order, written and read',
      run: () => {
        ranges.clear();
        for (let tag = 1; tag <= FRAME_MESSAGES; tag++) ranges.add(tag);
        writer.reset();
        writeSettle(writer, CLIENT_OPS.ACK, 1, ranges);
        settle.read(reader.open(writer.copy()), false);
      },
    },
  ];
}

function scanned(frame: Uint8Array): PublishBatch {
  return new PublishBatch().scan(new FrameReader().open(frame), LIMITS);
}

/** A DELIVER of what a PUBLISH brought: the payloads go on as they came. */
function deliver(writer: FrameWriter, batch: PublishBatch): Uint8Array {
  writer.reset();
  beginDeliver(writer, 1);
  const at = beginRun(writer, 1);
  for (let i = 0; i < batch.count; i++) {
    const priority = batch.priority[i]!;
    writeDeliveryHead(writer, { tag: i + 1, id: i + 1, queueIndex: 0, priority, attempt: 1, redelivered: false });
    const start = batch.payloadOffset[i]!;
    writer.raw(batch.bytes.subarray(start, start + batch.payloadLength[i]!));
  }
  endRun(writer, at, batch.count);
  return writer.copy();
}
