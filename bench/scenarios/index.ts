import { backlog } from './backlog.js';
import { connections } from './connections.js';
import { fanout } from './fanout.js';
import { growth } from './growth.js';
import { latency } from './latency.js';
import { limit } from './limit.js';
import { priority } from './priority.js';
import { recovery } from './recovery.js';
import { routing } from './routing.js';
import type { Scenario } from './scenario.js';
import { sizes } from './sizes.js';
import { tasks } from './tasks.js';
import { throughput } from './throughput.js';

/** Every scenario, in the order in which they run. */
export const SCENARIOS: readonly Scenario[] = [
  throughput,
  limit,
  latency,
  priority,
  backlog,
  recovery,
  connections,
  fanout,
  routing,
  sizes,
  growth,
  tasks,
];
