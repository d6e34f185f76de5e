import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { root, temporaryFolder, write } from './checkout.ts';

/** bin/alumnus beside a set-up that only says how it was called. */
function fakeCheckout(): string {
  const folder = temporaryFolder();
  write(folder, { 'a checkout/deploy/setup/run.mjs': 'console.log(JSON.stringify(process.argv.slice(2)));\n' });
  fs.mkdirSync(path.join(folder, 'a checkout/bin'));
  fs.copyFileSync(path.join(root, 'bin/alumnus'), path.join(folder, 'a checkout/bin/alumnus'));
  return folder;
}

describe('bin/alumnus', () => {
  it('hands its arguments on as they are, through symbolic links', () => {
    const folder = fakeCheckout();
    fs.symlinkSync('a checkout/bin/alumnus', path.join(folder, 'relative'));
    fs.symlinkSync(path.join(folder, 'relative'), path.join(folder, 'absolute'));
    for (const name of ['a checkout/bin/alumnus', 'relative', 'absolute']) {
      const output = execFileSync(path.join(folder, name), ['run', 'submit', 'a b.yaml', ''], { encoding: 'utf8', cwd: '/' });
      expect(JSON.parse(output)).toEqual(['alumnus', 'run', 'submit', 'a b.yaml', '']);
    }
  });

  it('says that Node is missing', () => {
    const folder = fakeCheckout();
    const result = spawnSync('/bin/sh', [path.join(folder, 'a checkout/bin/alumnus')], { encoding: 'utf8', env: { PATH: folder } });
    expect(result.stderr).toMatch(/^alumnus: There is no Node on this machine\./);
    expect(result.status).toBe(8);
  });
});
