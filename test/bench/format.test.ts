import { describe, expect, test } from 'vitest';
import { bytesText, mebibytes, percent, short, whole } from '../../bench/report/format.js';

describe('numbers for people', () => {
  test('whole ones are rounded and grouped', () => {
    expect(whole(1_234_567.6)).toBe('1,234,568');
  });

  test.each([
    [0.00423, '0.004'],
    [0.1234, '0.123'],
    [1.2345, '1.23'],
    [12.345, '12.3'],
    [123.45, '123'],
    [12_345.6, '12,346'],
    [0, '0'],
    [-2.5, '-2.50'],
  ])('%d in short is %s', (value, text) => {
    expect(short(value)).toBe(text);
  });

  test('what is no number is a dash', () => {
    expect(short(Number.NaN)).toBe('-');
    expect(short(null)).toBe('-');
    expect(mebibytes(null)).toBe('-');
    expect(mebibytes(Number.NaN)).toBe('-');
  });

  test('shares are percents, bytes are MiB', () => {
    expect(percent(0.5)).toBe('50.0 %');
    expect(mebibytes(3 * 1_048_576)).toBe('3.00');
  });

  test.each([
    [16, '16 B'],
    [1_000, '1,000 B'],
    [4_096, '4 KiB'],
    [1_048_576, '1 MiB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(bytesText(bytes)).toBe(text);
  });
});
