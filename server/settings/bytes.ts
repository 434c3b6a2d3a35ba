/** Sizes as people write them: `67108864`, `64MiB`, `64 MB`. Binary units count in 1024, decimal ones in 1000. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['kb', 1_000],
  ['mb', 1_000_000],
  ['gb', 1_000_000_000],
  ['kib', 1_024],
  ['mib', 1_048_576],
  ['gib', 1_073_741_824],
]);
const SHOWN = ['GiB', 'MiB', 'KiB'] as const;

/** Bytes of a number or of a text with a unit; undefined for anything else and for a size that is not a whole number of bytes. */
export function parseBytes(raw: unknown): number | undefined {
  if (typeof raw === 'number') return raw;
  if (typeof raw !== 'string') return undefined;
  const match = /^([0-9]{1,16}(?:\.[0-9]{1,6})?) ?([A-Za-z]{0,3})$/.exec(raw);
  const unit = UNITS.get(match?.[2]?.toLowerCase() ?? 'none');
  if (match === null || unit === undefined) return undefined;
  const bytes = Number(match[1]) * unit;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `67108864` as `64MiB`; a size that no binary unit divides stays a number. */
export function showBytes(bytes: number): string {
  const unit = SHOWN.find((name) => bytes > 0 && bytes % (UNITS.get(name.toLowerCase()) ?? 1) === 0);
  return unit === undefined ? String(bytes) : `${bytes / (UNITS.get(unit.toLowerCase()) ?? 1)}${unit}`;
}
