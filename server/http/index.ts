/** The admin API, health and metrics. */
export * from './create-http.js';
export * from './errors.js';
export { QUEUE_SERIES_MAX } from './metrics.js';
