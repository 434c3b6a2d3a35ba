/**
 * Verification codes go ahead of promotions, however many of these wait.
 *
 *     node client-sdk/examples/sms.js        (with a broker at ws://127.0.0.1:7420, or LOVAGE_URL)
 *
 * Two queues and three workers: one worker for codes alone, so that one is always free for them, and two that serve codes before promotions.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskApp } from '@lovage/client/tasks';

const app = new TaskApp({ url: process.env.LOVAGE_URL });
const sent = [];

const sendCode = app.task('sms.code', (_, phone, code) => deliver('code', `${phone}: ${code}`), { queue: 'sms-codes' });
const sendPromotion = app.task('sms.promotion', (_, phone, text) => deliver('promotion', `${phone}: ${text}`), {
  queue: 'sms-promotions',
});

/** Stands for the provider that takes 5 ms a message. */
async function deliver(kind) {
  await sleep(5);
  sent.push(kind);
}

const workers = [
  app.worker({ queues: ['sms-codes'], concurrency: 1 }),
  app.worker({ queues: ['sms-codes', 'sms-promotions'], concurrency: 1 }),
  app.worker({ queues: ['sms-codes', 'sms-promotions'], concurrency: 1 }),
];
for (const worker of workers) await worker.start();

const promotions = await sendPromotion.sendMany(
  Array.from({ length: 200 }, (_, i) => [`+49 170 ${i}`, 'Two for the price of one']),
);
const codes = await sendCode.sendMany([
  ['+49 171 1', '482911'],
  ['+49 171 2', '120044'],
  ['+49 171 3', '774201'],
]);
await Promise.all(codes.map((code) => code.result()));
console.log(`3 codes are out, ${sent.filter((kind) => kind === 'promotion').length} promotions went before them`);
await Promise.all(promotions.map((promotion) => promotion.result()));
console.log(`all ${sent.length} messages are out`);
await app.close();
