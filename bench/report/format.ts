/** Numbers as people read them. */

/** `1,234,567`: a whole number. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** Three significant digits, more for large numbers: `0.123`, `12.3`, `1,234`. */
export function short(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '-';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', {
    minimumFractionDigits: Math.min(3, digits),
    maximumFractionDigits: Math.min(3, digits),
  });
}

/** `12.3 %`, of a share of 1. */
export function percent(share: number): string {
  return `${short(share * 100)} %`;
}

/** Bytes in MiB. */
export function mebibytes(bytes: number | null): string {
  return bytes === null ? '-' : short(bytes / 1_048_576);
}

/** `256 B`, `64 KiB`, `1 MiB`: the largest unit that gives a whole number. */
export function bytesText(bytes: number): string {
  if (bytes % 1_048_576 === 0) return `${whole(bytes / 1_048_576)} MiB`;
  return bytes % 1_024 === 0 ? `${whole(bytes / 1_024)} KiB` : `${whole(bytes)} B`;
}
