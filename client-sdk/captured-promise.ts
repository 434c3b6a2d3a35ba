// hot path
/** Promises made without a closure of our own: one executor for all leaves the two functions where the maker picks them up. */

type Resolve<T> = (value: T) => void;
type Reject = (error: unknown) => void;

/** For a rejection that nobody need await. */
export const ignore = (): void => undefined;

/** The functions of the promise that was made last. Take them before another one is made. */
export const captured: { resolve: Resolve<never>; reject: Reject } = { resolve: ignore, reject: ignore };

/** `new Promise<T>(capture)`, then `captured.resolve as (value: T) => void`. */
export function capture(resolve: Resolve<never>, reject: Reject): void {
  captured.resolve = resolve;
  captured.reject = reject;
}
