/** Decoding on threads, which only the compiled program has: the same pixels and errors as on the calling thread, and a job's end whatever becomes of it. */
import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { decodeImage, encodePng, type ImageShape } from '../../dataset/index.ts';
import type { Decoders } from '../../worker/data/decoders.ts';
import { jpeg, picture } from '../unit/dataset/fixture.ts';

const shape: ImageShape = { height: 24, width: 20, channels: 3 };
const never = new AbortController().signal;
const built = pathToFileURL(`${process.cwd()}/dist/worker/data/decoders.js`).href;
let Threads: typeof Decoders;
let decoders: Decoders;
let names: string[];
let images: Uint8Array[];

beforeAll(async () => {
  ({ Decoders: Threads } = (await import(built)) as { Decoders: typeof Decoders });
  names = Array.from({ length: 60 }, (_, at) => `shard/${at}`);
  images = await Promise.all(names.map(async (_, at) => (at % 3 === 0 ? await jpeg(at, shape) : encodePng(picture(at, shape), shape))));
});
afterEach(() => decoders.close());

describe.each([1, 3])('images on %i threads', (threads) => {
  it('are decoded as on this one, in order, however many jobs there are', async () => {
    decoders = new Threads(threads);
    const expected = await Promise.all(images.map((image) => decodeImage(image, shape)));
    const jobs = await Promise.all(Array.from({ length: 30 }, (_, at) => decoders.decode({ shape, names: names.slice(at), images: images.slice(at) }, never)));
    jobs.forEach((pixels, at) => expect(Buffer.from(pixels).equals(Buffer.concat(expected.slice(at)))).toBe(true));
  });

  it('are named where they cannot be decoded, the first of several, and others go on', async () => {
    decoders = new Threads(threads);
    const bad = images.map((image, at) => (at === 31 || at === 8 || at === 9 ? image.subarray(0, image.length >> 1) : image));
    const [failed, sound] = await Promise.allSettled([decoders.decode({ shape, names, images: bad }, never), decoders.decode({ shape, names, images }, never)]);
    expect(failed).toMatchObject({ status: 'rejected', reason: { code: 'IMAGE_CORRUPT', where: 'shard/8' } });
    expect(sound?.status).toBe('fulfilled');
  });

  it('are given up at once when their signal aborts; others are not', async () => {
    decoders = new Threads(threads);
    const abort = new AbortController();
    const stopped = Array.from({ length: 20 }, () => decoders.decode({ shape, names, images }, abort.signal));
    const kept = decoders.decode({ shape, names, images }, never);
    abort.abort(new Error('stopped'));
    for (const each of await Promise.allSettled(stopped)) expect(each).toMatchObject({ status: 'rejected', reason: { message: 'stopped' } });
    expect(await kept).toHaveLength(60 * 24 * 20 * 3);
  });

  it('are rejected when their threads end, and later ones get new threads', async () => {
    decoders = new Threads(threads);
    const jobs = Array.from({ length: 2 * threads }, () => decoders.decode({ shape, names, images }, never));
    for (const job of jobs) job.catch(() => undefined);
    await decoders.close();
    for (const each of await Promise.allSettled(jobs)) expect(each).toMatchObject({ status: 'rejected', reason: { code: 'ENGINE_CRASHED' } });
    expect(await decoders.decode({ shape, names, images }, never)).toHaveLength(60 * 24 * 20 * 3);
  });
});

describe('a process', () => {
  it('ends though its threads are idle', async () => {
    decoders = new Threads(0);
    const script = `const { Decoders } = await import(${JSON.stringify(built)}); await new Decoders(2).decode({ shape: { height: 1, width: 1, channels: 1 }, names: ['a'], images: [Buffer.from(${JSON.stringify(Buffer.from(encodePng(Uint8Array.of(7), { height: 1, width: 1, channels: 1 })).toString('base64'))}, 'base64')] }, new AbortController().signal).then((pixels) => process.stdout.write(String(pixels[0])));`;
    const child = execFile(process.execPath, ['--input-type=module', '-e', script]);
    let output = '';
    child.stdout?.on('data', (text: string) => (output += text));
    const code = await Promise.race([new Promise((resolve) => child.on('close', resolve)), delay(30_000, 'still there')]);
    child.kill();
    expect([code, output]).toEqual([0, '7']);
  });
});
