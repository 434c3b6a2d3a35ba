/**
 * Modules from outside of the bundle. Whoever has loaded the bundle imports them: in code whose bytecode was kept Node 20 knows no `import()` ("A dynamic import callback was not specified").
 * Each is loaded when it is used, since a broker that starts has no use for any.
 */

export type Import = (specifier: string) => Promise<unknown>;

let importer: Import | null = null;

export function importWith(given: Import): void {
  importer = given;
}

export async function importModule<T>(specifier: string): Promise<T> {
  if (importer === null) throw new Error(`Cannot import "${specifier}": nobody has said how`);
  return (await importer(specifier)) as T;
}
