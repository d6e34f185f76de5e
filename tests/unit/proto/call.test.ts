/** What an address says of where it leads. */
import { expect, test } from 'vitest';
import { isWildcard } from '../../../proto/call.ts';

test.each([['0.0.0.0:7700', true], ['[::]:7700', true], ['127.0.0.1:7700', false], ['10.0.0.0:7700', false], ['coordinator-1:7700', false]])('%s names no machine: %s', (address, expected) => {
  expect(isWildcard(address)).toBe(expected);
});
