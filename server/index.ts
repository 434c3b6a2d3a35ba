/** Starts a broker inside a program: what the `lovage start` command does. */
export { type App, startApp } from './app/app.js';
export { loadSettings, type Settings } from './settings/index.js';
