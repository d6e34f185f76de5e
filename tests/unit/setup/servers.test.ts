/** The servers' set-up where it cannot build: what is said, and when it is an error. */
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { buildServers, serverNames, serverPath, serversReady } from '../../../deploy/setup/servers.mjs';

const folders: string[] = [];
const temporaryFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-servers-'));
  folders.push(folder);
  return folder;
};
afterEach(() => folders.splice(0).forEach((folder) => rmSync(folder, { recursive: true, force: true })));

const ignore = (): void => undefined;

/** A PATH with a `go` that does what the script says, and nothing else but `nice` and a shell. */
function withGo(script: string): NodeJS.ProcessEnv {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'go'), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, 'go'), 0o755);
  for (const program of ['nice', 'touch', 'basename']) symlinkSync(`/usr/bin/${program}`, join(folder, program));
  return { PATH: folder };
}

describe('the servers for tests', () => {
  it('are left out with a sentence on a machine without Go, and missed by name where they are asked for', async () => {
    const cache = temporaryFolder();
    const env = { PATH: temporaryFolder() };
    await buildServers(cache, ignore, { env, optional: true });
    await expect(buildServers(cache, ignore, { env })).rejects.toMatchObject({ exit: 8, message: expect.stringContaining('There is no Go'), remedy: expect.stringContaining('Install Go 1.26') });
    await expect(buildServers(cache, ignore, { env: { ...env, CI: 'true' }, optional: true })).rejects.toMatchObject({ exit: 8 });
    expect(serversReady(cache, env)).toBe(false);
  });

  it('are those that the machine has where it may have its own', async () => {
    const [cache, own] = [temporaryFolder(), temporaryFolder()];
    for (const name of ['prometheus', 'promtool']) writeFileSync(join(own, name), '');
    const log = join(temporaryFolder(), 'log');
    const env = withGo(`for last; do :; done; echo "$last" >> ${log}; path="\${last%@*}"; touch "$GOBIN/$(basename "\${path%/v2}")"`);
    for (const with_ of [{ ...env, PATH: `${env.PATH}:${own}` }, { ...env, PROMETHEUS: join(own, 'prometheus') }]) {
      expect(serverPath(cache, 'promtool', with_)).toBe(join(own, 'promtool'));
      await buildServers(cache, ignore, { env: with_ });
      expect(serversReady(cache, with_)).toBe(true);
    }
    expect(readFileSync(log, 'utf8')).not.toContain('prometheus');
    expect(serversReady(cache, env)).toBe(false);
  });

  it('appear complete, and only what is missing is built', async () => {
    const cache = temporaryFolder();
    const log = join(temporaryFolder(), 'log');
    // The last word is the package: its name, less a version in it, is the program's.
    const env = withGo(`for last; do :; done; echo "$last" >> ${log}; path="\${last%@*}"; touch "$GOBIN/$(basename "\${path%/v2}")"`);
    await buildServers(cache, ignore, { env });
    expect(serversReady(cache, env)).toBe(true);
    const again = withGo('exit 1');
    await buildServers(cache, ignore, { env: again });
    rmSync(serverPath(cache, 'minio'));
    expect(serversReady(cache, env)).toBe(false);
    await buildServers(cache, ignore, { env });
    expect(serverNames.every((name) => existsSync(serverPath(cache, name, env)))).toBe(true);
    expect(existsSync(join(cache, 'tmp-servers'))).toBe(false);
  });

  it.each([
    ['echo "go: dial tcp: lookup proxy.example.org: no such host"; exit 1', 'Go cannot reach its module proxy.'],
    ['echo "go: x requires go >= 1.26 (running go 1.20)"; exit 1', 'The Go on this machine is too old for nats-server.'],
    ['echo "write /x: no space left on device"; exit 1', 'is full'],
    ['echo "internal compiler error"; exit 2', 'nats-server could not be built (go ended with 2).'],
  ])('say what is wrong when Go says: %s', async (script, sentence) => {
    const cache = temporaryFolder();
    await expect(buildServers(cache, ignore, { env: withGo(script) })).rejects.toMatchObject({ exit: 8, message: expect.stringContaining(sentence) });
    expect(serversReady(cache)).toBe(false);
    expect(existsSync(join(cache, 'tmp-servers'))).toBe(false);
  });
});
