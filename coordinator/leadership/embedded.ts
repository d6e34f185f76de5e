/** The entry of a coordinator that has its journal to itself: the folder's lock decided who that is when it was opened. */
import type { Holder, LeaderEntry } from './entry.ts';

export function embeddedEntry(): LeaderEntry {
  let holder: Holder | undefined;
  return {
    ttlMs: Infinity,
    create: (each) => {
      holder = each;
      return Promise.resolve(1);
    },
    update: () => Promise.resolve(1),
    read: () => Promise.resolve(holder === undefined ? undefined : { holder, revision: 1 }),
    delete: () => Promise.resolve(),
  };
}
