/** Results over the wire: many large ones are asked for at once. */
import { readFileSync } from 'node:fs';
import { CLIENT_OPS, encodeValue, SERVER_OPS } from '@lovage/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Bystanders } from '../support/bystanders.js';
import { RawClient } from '../support/raw-client.js';

const RESULT_BYTES = 256 * 1024;
const RESULTS = 640;
const PER_FRAME = 16;
const MIB = 1024 * 1024;

let broker: BrokerProcess;
let bystanders: Bystanders;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--cache-bytes', `${16 * MIB}`] });
  bystanders = await Bystanders.join(broker);
});

afterAll(() => bystanders.assertDrained());

function residentBytes(): number {
  const status = readFileSync(`/proc/${broker.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(status)![1]) * 1024;
}

/** Messages that are done, each with a result; their ids. */
async function complete(client: RawClient): Promise<number[]> {
  await client.declare('work');
  await client.consume(1, ['work'], { prefetch: PER_FRAME });
  const ids: number[] = [];
  const body = Buffer.alloc(RESULT_BYTES, 'x');
  for (let done = 0; done < RESULTS; done += PER_FRAME) {
    ids.push(
      ...(await client.publishTexts(
        'work',
        Array.from({ length: PER_FRAME }, () => 'x'),
      )),
    );
    await client.delivered(done + PER_FRAME);
    const settleSeq = client.nextSettleSeq++;
    const results = Array.from({ length: PER_FRAME }, () => [0, null, null, body]);
    client.sendBytes(encodeValue([CLIENT_OPS.COMPLETE, settleSeq, [done + 1, PER_FRAME], results]));
    await client.settled(settleSeq);
  }
  return ids;
}

test('many large results that one frame asks for come as fast as they are read, and nobody else waits', async () => {
  const ids = await complete(await RawClient.connect(broker.url, { hello: { heartbeatMs: 600_000 } }));
  const watcher = await RawClient.connect(broker.url, { hello: { heartbeatMs: 600_000 } });
  watcher.pause();
  const before = residentBytes();
  // 160 MiB.
  watcher.send([CLIENT_OPS.RESULT_WATCH, 1, ids]);
  for (let i = 0; i < 20; i++) await bystanders.assertUnharmed();
  expect(residentBytes() - before).toBeLessThan(40 * MIB);
  const seen = new Set<number>();
  watcher.resume();
  await watcher.until(() => {
    for (const { op, fields } of watcher.frames.splice(0)) {
      if (op !== SERVER_OPS.RESULT) continue;
      for (const [id, status, , , body] of fields[0] as [number, number, null, null, Uint8Array][]) {
        expect([status, body.length]).toEqual([0, RESULT_BYTES]);
        seen.add(id);
      }
    }
    return seen.size === RESULTS;
  }, 'every result');
  expect(residentBytes() - before).toBeLessThan(80 * MIB);
  await bystanders.assertUnharmed();
}, 60_000);
