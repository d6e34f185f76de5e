/** The means of the disturbed runs do what they say: a fault that doesn't happen would let every run pass. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { childrenOf, lives } from '../harness/child.ts';
import { pause } from '../harness/processes.ts';
import { Disk } from '../harness/disk.ts';
import { Hosts, onHost, whyNoHosts } from '../harness/hosts.ts';
import { Proxy } from '../harness/proxy.ts';

const PORT = 7_000;
/** Far above a connection's time on one machine; what is lost never comes. */
const LOST_MS = 700;
const leftOut = whyNoHosts();

describe.skipIf(leftOut !== undefined)(leftOut === undefined ? 'hosts' : `hosts (left out: ${leftOut})`, () => {
  let hosts: Hosts;
  let server: ChildProcess;
  const connects = (from: string, to: string): Promise<boolean> => new Promise((resolve) => {
    const program = `require('net').connect({ port: ${PORT}, host: '${hosts.get(to).address}', timeout: ${LOST_MS} }).on('connect', () => process.exit(0)).on('timeout', () => process.exit(1)).on('error', () => process.exit(1))`;
    spawn(...onHost(hosts.get(from), process.execPath, ['-e', program]), { stdio: 'ignore' }).once('exit', (code) => resolve(code === 0));
  });

  beforeAll(async () => {
    hosts = Hosts.create(['a', 'b', 'c']);
    server = spawn(...onHost(hosts.get('a'), process.execPath, ['-e', `require('net').createServer().listen(${PORT}, '0.0.0.0', () => console.log('ready'))`]), { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise((resolve) => server.stdout?.once('data', resolve));
  });

  afterAll(() => {
    server.kill('SIGKILL');
    hosts.remove();
  });

  test('a program on a host is the very process that was started', () => {
    expect(childrenOf(process.pid).filter(lives).map(({ pid }) => pid)).toContain(server.pid);
    expect(childrenOf(server.pid ?? 0)).toEqual([]);
  });

  test.each([['what it sends', 'b', 'a'], ['what it is sent', 'a', 'b']] as const)('a host loses %s, to one other and no third, until it is carried again', async (_, from, to) => {
    expect(await connects('b', 'a')).toBe(true);
    hosts.lose(hosts.get(from), hosts.get(to));
    expect(await connects('b', 'a')).toBe(false);
    expect(await connects('c', 'a')).toBe(true);
    hosts.carry(hosts.get(from), hosts.get(to));
    expect(await connects('b', 'a')).toBe(true);
  });

  test('an unplugged host reaches nobody', async () => {
    hosts.unplug(hosts.get('b'));
    expect(await connects('b', 'a')).toBe(false);
    hosts.plug(hosts.get('b'));
    expect(await connects('b', 'a')).toBe(true);
  });

  test('a disk that is full takes nothing, and takes it again when it is freed', () => {
    const folder = mkdtempSync(join(tmpdir(), 'alumnus-disk-'));
    const disk = new Disk(folder, 1);
    const write = (): void => writeFileSync(join(folder, 'file'), 'some bytes');
    try {
      disk.fill();
      expect(write).toThrow(/ENOSPC/);
      disk.free();
      write();
    } finally {
      disk.unmount();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('a line', () => {
  let echo: Server;
  let proxy: Proxy;
  let client: Socket;
  let said = '';
  let closed = false;
  const upstreams = new Set<Socket>();
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await pause(5);
  };

  beforeEach(async () => {
    said = '';
    closed = false;
    echo = createServer((socket) => {
      upstreams.add(socket);
      socket.on('error', () => undefined).on('close', () => upstreams.delete(socket)).pipe(socket);
    });
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const address = echo.address();
    proxy = await Proxy.start(() => `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`);
    const own = connect(proxy.port, '127.0.0.1');
    client = own;
    // That of the test before may close only now.
    own.on('error', () => undefined).on('close', () => (closed ||= client === own)).on('data', (bytes) => (said += bytes.toString()));
    client.write('a');
    await until(() => said === 'a');
  });

  afterEach(() => {
    client.destroy();
    proxy.stop();
    echo.close();
  });

  test.each(['delay', 'stall'] as const)('%s: everything comes, later and in order', async (fault) => {
    proxy.impose(fault);
    for (const each of 'bcd') {
      client.write(each);
      await pause(10);
    }
    expect(said).toBe('a');
    if (fault === 'stall') proxy.heal();
    await until(() => said === 'abcd');
  });

  test('reset: it is closed, and so is a new one', async () => {
    proxy.impose('reset');
    await until(() => closed);
    const next = connect(proxy.port, '127.0.0.1');
    const ended = new Promise((resolve) => next.on('error', () => undefined).on('close', resolve));
    next.write('x');
    await ended;
  });

  test('half-open: the server sees the end, the client nothing', async () => {
    proxy.impose('half-open');
    await until(() => upstreams.size === 0);
    client.write('b');
    proxy.heal();
    await pause(20);
    expect([closed, said]).toEqual([false, 'a']);
  });

  test.each(['lose requests', 'lose answers'] as const)('%s: nothing comes back, and who lost something is reset at the end', async (fault) => {
    proxy.impose(fault);
    client.write('b');
    await pause(50);
    expect([closed, said]).toEqual([false, 'a']);
    proxy.heal();
    await until(() => closed);
    expect(said).toBe('a');
  });
});
