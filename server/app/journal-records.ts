/** What the records of a journal mean, for whoever looks at one without a broker. */
export { describeRecord, recordTypeName } from '../broker/record-codec.js';
