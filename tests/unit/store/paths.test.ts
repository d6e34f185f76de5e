/** The paths that a reader of a bucket finds things by: they are a contract with every store that was ever written. */
import { describe, expect, it } from 'vitest';
import { checkKey, datasetOfManifest, paths } from '../../../store/index.ts';

describe('paths', () => {
  it('are those that are documented', () => {
    expect([paths.datasetManifest('mnist'), paths.datasetPart('mnist', 'labeled'), paths.datasetTruth('mnist'), paths.taskOutput('r-1', 'i0.train.student.t0-abc')]).toEqual([
      'datasets/mnist/manifest.json', 'datasets/mnist/labeled', 'datasets/mnist/truth', 'runs/r-1/i0.train.student.t0-abc',
    ]);
    for (const key of [paths.datasetManifest('a'), paths.datasetTruth('a'), paths.taskOutput('r', 't')]) expect(checkKey(key)).toBe(key);
  });

  it('tell a manifest from every other object', () => {
    expect(datasetOfManifest('datasets/mnist/manifest.json')).toBe('mnist');
    for (const key of ['datasets/mnist/labeled/x.tar', 'datasets/a/b/manifest.json', 'runs/manifest.json', 'datasets/manifest.json', 'x/datasets/mnist/manifest.json']) expect(datasetOfManifest(key)).toBeUndefined();
  });
});
