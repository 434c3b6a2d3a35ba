/** The one table of settings, and how flags, variables and a config file become them. */
export * from './binding.js';
export * from './bytes.js';
export * from './kinds.js';
export * from './load.js';
export * from './markdown.js';
export * from './table.js';
export * from './tls.js';
