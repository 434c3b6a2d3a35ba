/** The language that clients and brokers speak: ops, frames, error codes, limits, names. No sockets, no clock. */
export * from './access.js';
export * from './control-frames.js';
export * from './dead-letters.js';
export * from './deliver-frame.js';
export * from './errors.js';
export * from './frame-reader.js';
export * from './frame-writer.js';
export * from './limits.js';
export * from './names.js';
export * from './namespaces.js';
export * from './ops.js';
export * from './pattern.js';
export * from './publish-frame.js';
export * from './queue-settings.js';
export * from './settle-frame.js';
export * from './value-codec.js';
