import type { Driver } from './driver.js';

/** Each driver by its name; loaded when it is used, so that a load process holds one client library only. */
export const DRIVERS: Readonly<Record<string, () => Promise<Driver>>> = {
  lovage: async () => (await import('./lovage-driver.js')).lovageDriver,
  rabbitmq: async () => (await import('../peers/rabbitmq-driver.js')).rabbitmqDriver,
  jetstream: async () => (await import('../peers/jetstream-driver.js')).jetstreamDriver,
  bullmq: async () => (await import('../peers/bullmq-driver.js')).bullmqDriver,
  beanstalkd: async () => (await import('../peers/beanstalkd-driver.js')).beanstalkdDriver,
};
