import { beanstalkd } from './beanstalkd.js';
import { bullmq } from './bullmq.js';
import { jetstream } from './jetstream.js';
import type { Peer } from './peer.js';
import { rabbitmqClassic, rabbitmqQuorum } from './rabbitmq.js';

export const PEERS: readonly Peer[] = [rabbitmqQuorum, rabbitmqClassic, jetstream, bullmq, beanstalkd];
