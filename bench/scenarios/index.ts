import { backlog } from './backlog.js';
import { latency } from './latency.js';
import { limit } from './limit.js';
import { priority } from './priority.js';
import { recovery } from './recovery.js';
import type { Scenario } from './scenario.js';
import { throughput } from './throughput.js';

/** Every scenario, in the order in which they run. */
export const SCENARIOS: readonly Scenario[] = [throughput, latency, priority, backlog, recovery, limit];
