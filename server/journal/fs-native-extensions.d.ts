/** The one function that the journal uses of this library. */
declare module 'fs-native-extensions' {
  /** Locks the open file (an open-file-description lock on Linux) or says false. The lock goes with the descriptor. */
  export function tryLock(descriptor: number, options?: { shared?: boolean }): boolean;
}
