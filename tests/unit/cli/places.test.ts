/** Where things lie: which of flag, home and environment counts, and what is no store at all. */
import { expect, test } from 'vitest';
import { journalUrl, passedOver, storeUrl } from '../../../cli/home.ts';
import { run } from './console.ts';

test.each(['s3:/alumnus', 's3:alumnus', 'S3://alumnus', 'file:/data', 'file://data', 'https://minio:9000/alumnus', 'gs://alumnus'])('%s is refused as a store, and is no folder', (store) => {
  expect(() => storeUrl({}, { store })).toThrow(expect.objectContaining({ code: 'USAGE', where: '--store', message: expect.stringContaining(`"${store}" is no store: write s3://BUCKET/PREFIX`) }));
  expect(() => storeUrl({ ALUMNUS_STORE: store }, {})).toThrow(expect.objectContaining({ code: 'USAGE', where: 'ALUMNUS_STORE' }));
});

test.each([['s3://alumnus/team?endpoint=http://m:9000', 's3://alumnus/team?endpoint=http://m:9000'], ['file:///data', 'file:///data'], ['/data/a:b', 'file:///data/a:b'], ['/data/s3:/x', 'file:///data/s3:/x']])('%s is a store', (store, url) => {
  expect(storeUrl({}, { store })).toBe(url);
});

test('a flag goes before --home, --home before the environment, for store and journal alike', () => {
  const env = { ALUMNUS_STORE: 's3://env', ALUMNUS_JOURNAL: 'nats://env:4222', ALUMNUS_HOME: '/env' };
  expect([storeUrl(env, {}), journalUrl(env, {})]).toEqual(['s3://env', 'nats://env:4222']);
  expect([storeUrl(env, { home: '/h' }), journalUrl(env, { home: '/h' })]).toEqual(['file:///h/store', undefined]);
  expect([storeUrl(env, { home: '/h', store: 's3://flag' }), journalUrl(env, { home: '/h', journal: 'nats://flag:1' })]).toEqual(['s3://flag', 'nats://flag:1']);
  expect(passedOver(env, { home: '/h' })).toEqual(['ALUMNUS_STORE', 'ALUMNUS_JOURNAL']);
  expect(passedOver(env, { home: '/h', store: 's3://flag' })).toEqual(['ALUMNUS_JOURNAL']);
  expect(passedOver(env, {})).toEqual([]);
});

test.each([[['dataset', 'list']], [['dataset', 'import', 'mnist']], [['dataset', 'verify', 'mnist']], [['coordinator']]])('%j ends with the usage before anything is made', async (args) => {
  const ran = await run([...args, '--store', 's3:/alumnus']);
  expect(ran).toMatchObject({ code: 2, out: '' });
  expect(ran.err).toMatch(/^error: --store: "s3:\/alumnus" is no store: .*\[USAGE\]$/m);
});

test.each([[['mnist', '--test-images', '500']], [['folder', '/absent', '--name', 'x', '--test', '/absent', '--test-images', '0.1']]])('dataset import %j says that no test images are drawn', async (args) => {
  const ran = await run(['dataset', 'import', ...args]);
  expect(ran).toMatchObject({ code: 2, out: '' });
  expect(ran.err).toMatch(/^error: --test-images: .*so none is drawn: leave --test-images out\. .*\[USAGE\]$/m);
});
