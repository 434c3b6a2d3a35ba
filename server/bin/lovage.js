#!/usr/bin/env node
// libuv's four threads carry the journal's fdatasync and everything else (DNS, file reads); this must be set before the
// pool starts, which is why it stands ahead of every import.
process.env.UV_THREADPOOL_SIZE ??= '16';
await import('../dist/cli/main.js');
