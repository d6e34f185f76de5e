import fs from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { build, buildReady } from '../../../deploy/setup/compile.mjs';
import { generateProtocol, protocolReady } from '../../../deploy/setup/protocol.mjs';
import { checkout, root, write } from './checkout.ts';

const noChild = (): void => undefined;

// What is in progress is said on stderr, which is not looked at here.
beforeEach(() => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  return () => void vi.restoreAllMocks();
});

describe('the build', () => {
  it('is current until a source changes, leaves no output of a source that is gone, and has what sources read as it is', async () => {
    const folder = checkout();
    write(folder, { 'cli/main.ts': "import { name } from './name.ts';\nprocess.stdout.write(name);\n", 'cli/name.ts': "export const name = 'a';\n" });
    expect(buildReady(folder)).toBe(false);
    await build(folder, noChild);
    expect(buildReady(folder)).toBe(true);
    expect(fs.readFileSync(path.join(folder, 'dist/cli/main.js'), 'utf8')).toMatch(/from ["']\.\/name\.js["']/);

    write(folder, { 'cli/main.ts': "process.stdout.write('b!');\n" });
    write(folder, { 'recipe/ready/mine.yaml': 'name: mine\n', 'recipe/ready/gone.yaml': 'name: gone\n' });
    fs.rmSync(path.join(folder, 'cli/name.ts'));
    expect(buildReady(folder)).toBe(false);
    await build(folder, noChild);
    expect(buildReady(folder)).toBe(true);
    expect(fs.readdirSync(path.join(folder, 'dist/cli')).sort()).toEqual(['main.js', 'main.js.map']);

    write(folder, { 'recipe/ready/mine.yaml': 'name: mine # ours\n' });
    fs.rmSync(path.join(folder, 'recipe/ready/gone.yaml'));
    expect(buildReady(folder)).toBe(false);
    await build(folder, noChild);
    expect(buildReady(folder)).toBe(true);
    expect(fs.readdirSync(path.join(folder, 'dist/recipe/ready'))).toEqual(['mine.yaml']);
    expect(fs.readFileSync(path.join(folder, 'dist/recipe/ready/mine.yaml'), 'utf8')).toBe('name: mine # ours\n');
  });

  it('has the page, which is as stale as its sources, and which no cleaning of outputs takes away', async () => {
    const folder = checkout();
    write(folder, { 'cli/main.ts': 'export {};\n', 'dashboard/index.html': '<!doctype html><script type="module" src="./main.ts"></script>', 'dashboard/main.ts': "document.title = 'one';\n" });
    fs.copyFileSync(path.join(root, 'dashboard/vite.config.mjs'), path.join(folder, 'dashboard/vite.config.mjs'));
    await build(folder, noChild);
    const script = (): string => {
      const assets = path.join(folder, 'dist/page/assets');
      return fs.readdirSync(assets).map((name) => fs.readFileSync(path.join(assets, name), 'utf8')).join();
    };
    expect(script()).toContain('one');
    write(folder, { 'cli/main.ts': 'export const more = 1;\n' });
    await build(folder, noChild);
    expect(script()).toContain('one');
    write(folder, { 'dashboard/main.ts': "document.title = 'another';\n" });
    expect(buildReady(folder)).toBe(false);
    await build(folder, noChild);
    expect(script()).toContain('another');
    expect(script()).not.toContain("'one'");
    // It must not run what the page's policy forbids.
    expect(fs.readFileSync(path.join(folder, 'dist/page/index.html'), 'utf8')).not.toMatch(/<script(?![^>]*src=)|<style|\son[a-z]+=/);
    write(folder, { 'dashboard/main.ts': "import './nothing.ts';\n" });
    await expect(build(folder, noChild)).rejects.toMatchObject({ message: 'The page cannot be built.' });
    expect(buildReady(folder)).toBe(false);
  });

  it('stays stale when the sources do not compile, and shows where', async () => {
    const folder = checkout();
    write(folder, { 'cli/main.ts': 'const port: number = "none";\nexport { port };\n' });
    await expect(build(folder, noChild)).rejects.toMatchObject({ message: 'The sources do not compile.', exit: 1, detail: expect.stringContaining('cli/main.ts(1,7)') as string });
    expect(buildReady(folder)).toBe(false);
  });
});

describe('the wire types', () => {
  it('are generated again only when a .proto file changes', async () => {
    const folder = checkout();
    const cache = path.join(folder, '../cache');
    const proto = 'syntax = "proto3";\npackage alumnus.v1;\nmessage Lease { string lease_id = 1; }\n';
    write(folder, { 'proto/alumnus/v1/lease.proto': proto });
    expect(protocolReady(folder)).toBe(false);
    await generateProtocol(folder, cache, noChild);
    expect(protocolReady(folder)).toBe(true);
    expect(fs.readFileSync(path.join(folder, 'proto/gen/alumnus/v1/lease.ts'), 'utf8')).toContain('leaseId: string');

    write(folder, { 'proto/alumnus/v1/lease.proto': proto.replace('lease_id', 'id') });
    expect(protocolReady(folder)).toBe(false);
    await generateProtocol(folder, cache, noChild);
    expect(protocolReady(folder)).toBe(true);
    expect(fs.readdirSync(path.join(folder, 'proto')).sort()).toEqual(['alumnus', 'gen']);
  });

  it('keep the old ones when a .proto file is wrong', async () => {
    const folder = checkout();
    const cache = path.join(folder, '../cache');
    write(folder, { 'proto/alumnus/v1/lease.proto': 'syntax = "proto3";\npackage alumnus.v1;\nmessage Lease {}\n' });
    await generateProtocol(folder, cache, noChild);
    write(folder, { 'proto/alumnus/v1/lease.proto': 'message' });
    await expect(generateProtocol(folder, cache, noChild)).rejects.toMatchObject({ exit: 1 });
    expect(protocolReady(folder)).toBe(false);
    expect(fs.existsSync(path.join(folder, 'proto/gen/alumnus/v1/lease.ts'))).toBe(true);
  });
});
