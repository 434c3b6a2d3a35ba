/** Listings that come in pages. */
import { LIMITS } from '@lovage/protocol';

/** Everything that a paged listing has; `placeOf` tells where the page behind an item begins. */
export async function* pagesOf<T, P>(
  pageFrom: (after?: P) => Promise<readonly T[]>,
  placeOf: (item: T) => P,
): AsyncGenerator<T> {
  let after: P | undefined;
  do {
    const page: readonly T[] = await pageFrom(after);
    yield* page;
    const last = page.at(-1);
    after = page.length < LIMITS.pageMax || last === undefined ? undefined : placeOf(last);
  } while (after !== undefined);
}
