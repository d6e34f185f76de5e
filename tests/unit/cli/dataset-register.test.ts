/** The flags of `dataset register` that say who reads. */
import { expect, it } from 'vitest';
import { run } from './console.ts';

it.each([
  [['--address', 'a:7700'], '--address: goes with --fleet'],
  [['--fleet', '--at-once', '8'], '--at-once'],
])('%s is refused', async (flags, sentence) => {
  expect(await run(['dataset', 'register', 'web', '/nonexistent/tars', ...flags])).toMatchObject({ code: 2, err: expect.stringContaining(sentence) });
});
