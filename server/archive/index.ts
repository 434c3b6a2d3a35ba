/** What other rooms may use of the archive. */
export * from './archive.js';
export * from './errors.js';
export { ARCHIVE_FILE, type ArchiveOptions, openArchive } from './sqlite-archive.js';
