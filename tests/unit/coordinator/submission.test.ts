/** What a submission is refused for by the datasets it names, before any run is there. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { importDataset } from '../../../dataset/index.ts';
import { paths } from '../../../store/index.ts';
import { memorySource, temporaryStore } from '../dataset/fixture.ts';

const recipe = 'name: digits\nrounds: 1\ndata: { dataset: set }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\n';

test('a dataset whose manifest was edited by hand is refused with the manifest\'s name', async () => {
  const { store, root } = await temporaryStore();
  const { digest } = await importDataset(store, memorySource({ labeled: 30, test: 6 }), { name: 'set', labeledPerClass: 4, validation: 6 });
  expect((await prepareSubmission(store, recipe)).data.labeled?.manifestSha256).toBe(digest);
  const file = join(root, paths.datasetManifest('set'));
  await writeFile(file, (await readFile(file, 'utf8')).replace('"classes":["a"', '"classes":["z"'));
  await expect(prepareSubmission(store, recipe)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: paths.datasetManifest('set') });
});
