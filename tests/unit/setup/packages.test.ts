import { describe, expect, it } from 'vitest';
import { isInstalled } from '../../../deploy/setup/packages.mjs';

const wanted = {
  '': { version: '0.1.0' },
  'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
  'node_modules/a-darwin': { version: '1.0.0', integrity: 'sha512-d', optional: true },
};
const installed = { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' } };

describe('installed packages', () => {
  it('are current when they are those of the lock, less other platforms\' ones', () => {
    expect(isInstalled(wanted, installed)).toBe(true);
  });

  it.each([
    ['no installation finished', undefined],
    ['one is missing', {}],
    ['one has another version', { 'node_modules/a': { version: '1.0.1', integrity: 'sha512-a' } }],
    ['one has another content', { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-x' } }],
    ['one is no longer wanted', { ...installed, 'node_modules/b': { version: '1.0.0', integrity: 'sha512-b' } }],
    ['an optional one is of another version', { ...installed, 'node_modules/a-darwin': { version: '0.9.0', integrity: 'sha512-d' } }],
  ])('are stale when %s', (_, present) => {
    expect(isInstalled(wanted, present)).toBe(false);
  });
});
