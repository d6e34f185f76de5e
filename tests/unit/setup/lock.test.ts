import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { withLock } from '../../../deploy/setup/lock.mjs';
import { processStart } from '../../../deploy/setup/process.mjs';
import { root, temporaryFolder } from './checkout.ts';

/** A process that takes the lock, says `held`, and keeps it. */
async function holder(subject: string, record: string, body = ''): Promise<ChildProcess> {
  const script = `
    import { withLock } from ${JSON.stringify(path.join(root, 'deploy/setup/lock.mjs'))};
    import { spawn } from 'node:child_process';
    await withLock(${JSON.stringify(subject)}, ${JSON.stringify(record)}, async (onChild) => {
      ${body}
      process.stdout.write('held\\n');
      await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

const turns = async (): Promise<void> => {
  await new Promise((resolve) => setTimeout(resolve, 300));
};

// What is in progress is said on stderr, which is not looked at here.
beforeEach(() => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  return () => void vi.restoreAllMocks();
});

describe('the lock', () => {
  it('is held by one at a time, in this process too', async () => {
    const folder = temporaryFolder();
    const record = path.join(folder, 'child.json');
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setTimeout(resolve, 20));
      inside -= 1;
    };
    await Promise.all([withLock(folder, record, work), withLock(folder, record, work), withLock(folder, record, work)]);
    expect(most).toBe(1);
  });

  it('does not keep different subjects apart', async () => {
    const folder = temporaryFolder();
    const result = await withLock(`${folder}/a`, path.join(folder, 'a.json'), () => withLock(`${folder}/b`, path.join(folder, 'b.json'), () => Promise.resolve('both')));
    expect(result).toBe('both');
  });

  it('is released when the work throws', async () => {
    const folder = temporaryFolder();
    const record = path.join(folder, 'child.json');
    await expect(withLock(folder, record, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await withLock(folder, record, () => Promise.resolve('again'))).toBe('again');
  });

  it('is waited for while its holder lives, and free the moment the holder is killed', async () => {
    const folder = temporaryFolder();
    const record = path.join(folder, 'child.json');
    const child = await holder(folder, record);
    let got = false;
    const waiting = withLock(folder, record, () => {
      got = true;
      return Promise.resolve();
    });
    await turns();
    expect(got).toBe(false);
    child.kill('SIGKILL');
    await waiting;
    expect(got).toBe(true);
  });

  it('is not entered while a child of a killed holder still works', async () => {
    const folder = temporaryFolder();
    const record = path.join(folder, 'child.json');
    const child = await holder(folder, record, `const orphan = spawn('sleep', ['3600'], { stdio: 'ignore' }); await new Promise((resolve) => orphan.on('spawn', resolve)); onChild(orphan.pid);`);
    const orphan = (JSON.parse(fs.readFileSync(record, 'utf8')) as { pid: number }).pid;
    onTestFinished(() => {
      if (processStart(orphan) !== undefined) process.kill(orphan, 'SIGKILL');
    });
    child.kill('SIGKILL');
    let got = false;
    const waiting = withLock(folder, record, () => {
      got = true;
      return Promise.resolve();
    });
    await turns();
    expect(got).toBe(false);
    process.kill(orphan, 'SIGKILL');
    await waiting;
    expect(got).toBe(true);
  });

  it('takes no notice of a recorded child whose id now belongs to another process', async () => {
    const folder = temporaryFolder();
    const record = path.join(folder, 'child.json');
    fs.writeFileSync(record, JSON.stringify({ pid: process.pid, start: '1' }));
    expect(await withLock(folder, record, () => Promise.resolve('in'))).toBe('in');
  });
});
