/** The `lovage` command, which keeps the bytecode of its bundle when it ends. Run by the project's `bundle.js`. */
import { keepBytecode } from './lovage.js';

process.on('exit', keepBytecode);
