import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { nodeVersionComplaint } from '../../../deploy/setup/node-version.mjs';
import { root } from './checkout.ts';

describe('the version gate', () => {
  it.each(['20.19.0', '20.20.2', '22.13.0', '22.99.1', '24.0.0', '24.21.0'])('accepts Node %s', (version) => {
    expect(nodeVersionComplaint(version)).toBeUndefined();
  });

  it.each(['14.21.3', '18.20.8', '20.18.3'])('says that Node %s is too old', (version) => {
    expect(nodeVersionComplaint(version)).toBe(
      `Node ${version} is too old. Install Node 20.19 or newer, 22.13 or newer, or 24 and run the command again.`,
    );
  });

  it.each(['25.0.0', '26.1.0'])('says that Node %s is newer than Alumnus knows', (version) => {
    expect(nodeVersionComplaint(version)).toMatch(/is newer than Alumnus knows\. Use Node 20\.19/);
  });

  it.each(['21.7.3', '22.12.0', '23.11.0'])('does not take Node %s, which lies between supported ones', (version) => {
    expect(nodeVersionComplaint(version)).toMatch(/is not supported\. Use Node 20\.19/);
  });

  it('ends every command with the sentence and the exit code of a wrong environment', () => {
    const pretend = 'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"18.20.8"}})';
    const result = spawnSync(process.execPath, ['--import', pretend, `${root}/deploy/setup/run.mjs`, 'setup'], { encoding: 'utf8' });
    expect(result.stderr).toMatch(/^alumnus: Node 18\.20\.8 is too old\./);
    expect(result.status).toBe(8);
  });

  it('is written in a syntax that an old Node reads', () => {
    for (const file of ['run.mjs', 'node-version.mjs']) {
      // What Node 14 lacks: static blocks, class fields with #x in, top-level await in older releases, Object.hasOwn, .at, ||=.
      const source = execFileSync('cat', [`${root}/deploy/setup/${file}`], { encoding: 'utf8' });
      expect(source).not.toMatch(/\?\?=|\|\|=|&&=|\.at\(|hasOwn|from 'node:|^await |import\.meta\.dirname/m);
    }
  });
});
