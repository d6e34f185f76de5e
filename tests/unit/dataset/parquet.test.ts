/** Parquet files of images that pyarrow and Pillow wrote (parquet/make.py, which also wrote what is expected of them). */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parquetMetadata } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { importDataset, openSource, readLabels, shardSamples, type SourceFiles, type SourceSample } from '../../../dataset/index.ts';
import { openParquet, streamParquet, writeParquet } from '../../../dataset/parquet.ts';
import { collect, temporaryFolder, temporaryStore } from './fixture.ts';

const folder = join(import.meta.dirname, 'parquet');
const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Record<'train' | 'test', [string, number | null][]>;
const read = async (files: SourceFiles): Promise<SourceSample[]> => collect((await openSource('parquet', files)).samples());
const digestOf = ({ image }: SourceSample): string => ('encoded' in image ? createHash('sha256').update(image.encoded).digest('hex') : 'pixels');
const told = (samples: readonly SourceSample[]): [string, number | null][] => samples.map((sample) => [digestOf(sample), typeof sample.label === 'number' ? sample.label : null]);

describe('Parquet files of images', () => {
  it('give every image with its bytes as they are and its label, over files and row groups, whatever compressed them', async () => {
    const samples = await read({ paths: [folder], test: [join(folder, 'test-00000-of-00001.parquet')] });
    // The last two of train have no label: -1 and null.
    expect(samples.map(({ pool }) => pool)).toEqual([...Array<string>(16).fill('train'), 'unlabeled', 'unlabeled', ...Array<string>(6).fill('test')]);
    expect(told(samples)).toEqual([...expected.train, ...expected.test]);
    expect(samples.slice(0, 2).map(({ origin, image }) => [origin, 'extension' in image && image.extension])).toEqual([
      ['train-00000-of-00002.parquet[0] 000.png', 'png'], ['train-00000-of-00002.parquet[1] 001.jpeg', 'jpg'],
    ]);
    expect(samples[9]?.origin).toBe('train-00001-of-00002.parquet[0]');
  });

  it('tell their classes and how many rows there are', async () => {
    const source = await openSource('parquet', { paths: [folder] });
    expect([source.classes, source.samplesExpected]).toEqual([['cat', 'dog', 'owl'], 18]);
  });

  it('without the hub\'s metadata: columns by their usual names, labels by theirs', async () => {
    const samples = await read({ paths: [join(folder, 'plain.parquet')] });
    expect(samples.map(({ label, origin }) => [label, origin])).toEqual([['red', 'plain.parquet[0]'], ['blue', 'plain.parquet[1]']]);
  });

  it('become a dataset whose shards hold those very bytes', async () => {
    const { store } = await temporaryStore();
    const { manifest } = await importDataset(store, await openSource('parquet', { paths: [folder], test: [join(folder, 'test-00000-of-00001.parquet')] }), { name: 'hub', labeledPerClass: 2, validation: 3 });
    expect(manifest.image).toEqual({ height: 8, width: 6, channels: 3 });
    expect(manifest.classes).toEqual(['cat', 'dog', 'owl']);
    const digests: string[] = [];
    for (const part of Object.values(manifest.parts)) {
      for (const shard of part?.shards ?? []) for await (const { bytes } of shardSamples(store, shard)) digests.push(createHash('sha256').update(bytes).digest('hex'));
    }
    expect(digests.sort()).toEqual([...expected.train, ...expected.test].map(([digest]) => digest).sort());
    const { labels } = manifest.parts.test ?? {};
    if (labels === undefined) throw new Error('the test part has labels');
    const counts = (classes: Iterable<number | null>): number[] => [0, 1, 2].map((index) => [...classes].filter((each) => each === index).length);
    expect(counts((await readLabels(store, labels)).classes)).toEqual(counts(expected.test.map(([, label]) => label)));
  });

  it.each([
    ['a file that is none', async () => join(folder, 'make.py'), 'SHARD_CORRUPT', 'has no footer'],
    ['images that are elsewhere', async () => join(folder, 'referred.parquet'), 'DATASET_SOURCE_UNREADABLE', 'holds no bytes'],
    ['no such file', async () => join(folder, 'none.parquet'), 'DATASET_SOURCE_UNREADABLE', 'cannot be read'],
    ['a page without its header', async () => {
      const bytes = readFileSync(join(folder, 'train-00001-of-00002.parquet'));
      bytes.fill(0xff, 4, 40);
      const path = join(temporaryFolder(), 'damaged.parquet');
      writeFileSync(path, bytes);
      return path;
    }, 'SHARD_CORRUPT', 'is damaged in row group 0'],
  ])('%s: refused with its name', async (_, make, code, sentence) => {
    const path = await make();
    await expect(read({ paths: [path] })).rejects.toMatchObject({ code, message: expect.stringContaining(sentence) });
  });

  it('files whose classes differ are refused', async () => {
    const other = readFileSync(join(folder, 'test-00000-of-00001.parquet'));
    const at = other.indexOf('"owl"');
    expect(at).toBeGreaterThan(0);
    other.write('"emu"', at);
    const path = join(temporaryFolder(), 'other.parquet');
    writeFileSync(path, other);
    await expect(openSource('parquet', { paths: [join(folder, 'train-00000-of-00002.parquet'), path] })).rejects.toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', where: path });
  });
});

describe('a table that is written as its rows come', () => {
  const rows = Array.from({ length: 1_000 }, (_, at): readonly [string, number] => [`key ${(at * 7919) % 1_000}`, at % 10]);
  const come = async function* (): AsyncGenerator<readonly [string, number]> {
    for (const row of rows) yield await Promise.resolve(row);
  };
  const written = async (groupRows?: number): Promise<Buffer> => Buffer.concat(await collect(streamParquet({ key: 'STRING', class: 'INT32' }, come(), groupRows)));

  it('has the bytes of one that is written whole', async () => {
    const whole = writeParquet([{ name: 'key', data: rows.map(([key]) => key), type: 'STRING', nullable: false }, { name: 'class', data: Int32Array.from(rows, ([, label]) => label), type: 'INT32', nullable: false }]);
    expect(await written()).toEqual(Buffer.from(whole));
    expect(await written(1_000)).toEqual(Buffer.from(whole));
  });

  it('is read as one whatever its row groups', async () => {
    const content = await written(300);
    expect(parquetMetadata(new Uint8Array(content).buffer).row_groups.map((group) => Number(group.num_rows))).toEqual([300, 300, 300, 100]);
    const table = openParquet(content, 'table');
    expect([...await table.column('key')]).toEqual(rows.map(([key]) => key));
    expect([...await table.column('class')]).toEqual(rows.map(([, label]) => label));
  });
});
