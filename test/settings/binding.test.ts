import { describe, expect, test } from 'vitest';
import { allowedHosts, assertSafeBinding, isHostAllowed, isLoopback } from '../../server/settings/index.js';

describe('loopback', () => {
  test.each(['127.0.0.1', '127.8.9.1', 'localhost', 'LOCALHOST', '::1', '::ffff:127.0.0.1'])('is %s', (host) => {
    expect(isLoopback(host)).toBe(true);
  });
  test.each(['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.com', 'localhost.example.com', '1127.0.0.1'])(
    'is not %s',
    (host) => {
      expect(isLoopback(host)).toBe(false);
    },
  );
});

describe('binding beyond loopback', () => {
  test('is refused without a token', () => {
    expect(() => assertSafeBinding({ host: '0.0.0.0', token: null, insecure: false }, false)).toThrow(
      /without a token.*--insecure/,
    );
  });
  test.each([
    { host: '0.0.0.0', token: 'secret', insecure: false },
    { host: '0.0.0.0', token: null, insecure: false, hasStored: true },
    { host: '0.0.0.0', token: null, insecure: true },
    { host: '127.0.0.1', token: null, insecure: false },
  ])('is allowed with %j', ({ hasStored = false, ...settings }) =>
    expect(() => assertSafeBinding(settings, hasStored)).not.toThrow(),
  );
});

describe('allowed hosts', () => {
  const onLoopback = allowedHosts({ host: '127.0.0.1', allowHosts: [] });

  test('are loopback names while listening on loopback', () => {
    for (const header of ['127.0.0.1:7420', 'localhost', 'LocalHost:1', '[::1]:7420', 'localhost.']) {
      expect(isHostAllowed(header, onLoopback)).toBe(true);
    }
    for (const header of [
      'evil.example',
      'evil.example:7420',
      '',
      undefined,
      '127.0.0.1.evil.example',
      'localhost:7420:1',
    ]) {
      expect(isHostAllowed(header, onLoopback)).toBe(false);
    }
  });

  test('include the very address of an unusual loopback', () => {
    expect(isHostAllowed('127.0.0.9:7420', allowedHosts({ host: '127.0.0.9', allowHosts: [] }))).toBe(true);
  });

  test('are any beyond loopback unless there is a list', () => {
    expect(allowedHosts({ host: '0.0.0.0', allowHosts: [] })).toBeNull();
    expect(isHostAllowed(undefined, null)).toBe(true);
    const listed = allowedHosts({ host: '0.0.0.0', allowHosts: ['broker.example', '::1'] });
    expect(isHostAllowed('broker.example:7420', listed)).toBe(true);
    expect(isHostAllowed('[::1]:7420', listed)).toBe(true);
    expect(isHostAllowed('127.0.0.1:7420', listed)).toBe(false);
  });

  test('are any with a star', () => expect(allowedHosts({ host: '127.0.0.1', allowHosts: ['*'] })).toBeNull());
});
