/** The journal on NATS against the suite that all journals pass, and what is its own: lost answers, servers that die, leaders that contend. */
import { afterAll, beforeAll } from 'vitest';
import { describeOnServers } from '../../harness/servers.ts';
import { journalConformance } from '../../unit/coordinator/journal-conformance.ts';
import { Places } from './places.ts';

for (const replicas of [1, 3] as const) {
  describeOnServers(['nats-server'], `on NATS, ${replicas} replica${replicas === 1 ? '' : 's'}`, () => {
    let places: Places;
    beforeAll(async () => {
      places = await Places.start(replicas);
    });
    afterAll(() => places.stop());
    journalConformance(`on NATS (${replicas})`, (place, after) => places.lead(place, after), () => places.fresh());
  });
}
