/** Runs before each test file. */
import { cleanUpAfterFile } from './cleanup.js';

cleanUpAfterFile();
