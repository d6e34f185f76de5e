/** A file of its own, hence a process of its own: what other tests once needed would hide what this one does. */
import { expect, it } from 'vitest';
import { openS3Store } from '../../../store/s3/index.ts';
import { KEYS, minioForTests } from '../../harness/s3.ts';
import { describeOnServers } from '../../harness/servers.ts';

const MEBIBYTE = 1024 * 1024;
const PIECES = 240;
/** 16 MiB of spool, three parts of 16 MiB, the pieces of a download, and twice as much again that waits to be collected; far from the whole. */
const GROWTH_BYTES_MAX = 180 * MEBIBYTE;
const SAMPLE_MS = 20;

describeOnServers(['minio'], 'a long stream on S3', () => {
  const minio = minioForTests();

  it('is put and read in bounded memory', async () => {
    const store = await openS3Store(minio().url('memory'), KEYS, minio().options);
    const piece = Buffer.alloc(MEBIBYTE, 'x');
    const source = async function* (): AsyncIterable<Buffer> {
      for (let at = 0; at < PIECES; at += 1) {
        // The same buffer again and again: a store that kept it instead of its bytes would not give back what was put.
        piece.writeUInt32LE(at, 0);
        yield await Promise.resolve(piece);
      }
    };
    const before = process.memoryUsage.rss();
    let most = before;
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
    }, SAMPLE_MS);
    const ref = await store.putAddressed('p', source());
    let bytes = 0;
    for await (const chunk of store.stream(ref)) bytes += chunk.byteLength;
    clearInterval(timer);
    expect(bytes).toBe(PIECES * MEBIBYTE);
    process.stderr.write(`a stream of ${PIECES} MiB: resident memory grew by ${Math.round((most - before) / MEBIBYTE)} MiB at most\n`);
    expect(most - before).toBeLessThan(GROWTH_BYTES_MAX);
  });
});
