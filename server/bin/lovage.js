#!/usr/bin/env node
import v8 from 'node:v8';

// A broker makes few objects and many large buffers. Node 20 frees dead buffers when it collects the young generation, and counts only objects
// towards doing so: with 16 MiB of young generation the buffers of a fifth of a second pile up until a full collection is forced.
// Kept at its first size, 1 MiB, the same load spends 0.35 s instead of 0.75 s of 8 s on collections, and memory stays lower.
v8.setFlagsFromString('--semi-space-growth-factor=1');
// Old objects are collected when there are twice as many as after the last time. V8 would choose a factor from 1.1 to 4, and chooses 1.1 when objects grow
// old slowly, as here: then it collects 16 MB twice a second for the first six seconds, and each of these collections takes 10 to 15 ms in steps.
v8.setFlagsFromString('--heap-growing-percent=100');
// A collection of 1 MiB is over before other threads have woken up to help with it, and then the loop waits for them.
v8.setFlagsFromString('--no-parallel-scavenge');
// libuv's four threads carry the journal's fdatasync and everything else (DNS, file reads); this must be set before the
// pool starts, which is why it stands ahead of every import of ours.
process.env.UV_THREADPOOL_SIZE ??= '16';
await import('../dist/bundle/main.js');
