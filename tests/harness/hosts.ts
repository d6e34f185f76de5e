/**
 * Hosts of a test: network namespaces on one bridge, whose links can be cut one way, both ways or altogether. The process
 * that runs the tests sits at the bridge itself (`npm run test:chaos` gives it a network of its own) and is the operator's
 * host: it reaches every host, and nothing of it all reaches the machine's network.
 *
 * Invariants:
 *  1. Without a network of our own nothing is made: a bridge would join the machine's.
 *  2. A name of a namespace holds the id of the process that made it. They are removed with the hosts, when the process
 *     ends, and, where it was killed, by the next one.
 *  3. What is lost is lost silently: a packet leaves for a link address that nobody has. A blackhole route would tell the sender.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

/** Documentation and tests use it; in a network of our own it meets nobody else's. */
const NET = '10.77.0';
export const OPERATOR = `${NET}.1`;
const FIRST_HOST = 11;
const BRIDGE = 'bridge';
const DEVICE = 'eth0';
/** Ends of hosts' links at the bridge. The kernel takes those of removed hosts away by and by. */
const PORT = /^port-\d+$/;
/** Of the kind that anybody may give away; no interface here has it. */
const NOBODY = '02:00:00:00:00:01';
const PREFIX = 'alumnus-test';
const NAMES = '/run/netns';

export interface Host {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
}

/** What to start so that a program runs on the host; without one, here. The id of the process is the program's. */
export const onHost = (host: Host | undefined, program: string, args: readonly string[]): [string, string[]] => (
  host === undefined ? [program, [...args]] : ['ip', ['netns', 'exec', host.namespace, program, ...args]]
);

/** Why there can be no hosts here; undefined where there can. @throws under CI=true, where nothing is left out */
export function whyNoHosts(): string | undefined {
  const reason = missing();
  if (reason !== undefined && process.env.CI === 'true') throw new Error(reason);
  return reason;
}

function missing(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'hosts of tests are Linux network namespaces: run it as root';
  if (!onPath('ip')) return 'iproute2 is missing (the command `ip`)';
  if (Object.keys(networkInterfaces()).some((name) => name !== 'lo' && name !== BRIDGE && !PORT.test(name))) return 'the tests run in the machine\'s own network: start them with `npm run test:chaos`';
  return undefined;
}

function onPath(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(`${folder}/${program}`, constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}

const ip = (...args: readonly string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

/** One that is not there is no error. */
function removeLink(name: string): void {
  try {
    ip('link', 'delete', name);
  } catch {
    // It is gone already.
  }
}

const open = new Set<Hosts>();
process.on('exit', () => {
  for (const hosts of open) hosts.remove();
});

export class Hosts {
  readonly #hosts = new Map<string, Host>();
  /** How many faults lose what goes which way. */
  readonly #lost = new Map<string, number>();

  private constructor() {
    open.add(this);
  }

  static create(names: readonly string[]): Hosts {
    sweep();
    const hosts = new Hosts();
    try {
      ip('link', 'set', 'lo', 'up');
      ip('link', 'add', BRIDGE, 'type', 'bridge');
      ip('address', 'add', `${OPERATOR}/24`, 'dev', BRIDGE);
      ip('link', 'set', BRIDGE, 'up');
      for (const [at, name] of names.entries()) hosts.#add(name, at);
    } catch (thrown) {
      hosts.remove();
      throw thrown;
    }
    return hosts;
  }

  #add(name: string, at: number): void {
    const host: Host = { name, address: `${NET}.${FIRST_HOST + at}`, namespace: `${PREFIX}-${process.pid}-${name}` };
    ip('netns', 'add', host.namespace);
    this.#hosts.set(name, host);
    const port = `port-${at}`;
    removeLink(port);
    ip('link', 'add', port, 'type', 'veth', 'peer', 'name', DEVICE, 'netns', host.namespace);
    ip('link', 'set', port, 'master', BRIDGE, 'up');
    ip('-n', host.namespace, 'address', 'add', `${host.address}/24`, 'dev', DEVICE);
    for (const device of ['lo', DEVICE]) ip('-n', host.namespace, 'link', 'set', device, 'up');
  }

  get(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`there is no host ${name}`);
    return host;
  }

  /** From now on what one host sends the other is lost; what comes back is not. Faults may overlap: it is carried again when as many `carry` were said. */
  lose(from: Host, to: Host): void {
    const way = `${from.namespace} ${to.address}`;
    this.#lost.set(way, (this.#lost.get(way) ?? 0) + 1);
    ip('-n', from.namespace, 'neighbour', 'replace', to.address, 'lladdr', NOBODY, 'dev', DEVICE, 'nud', 'permanent');
  }

  carry(from: Host, to: Host): void {
    const way = `${from.namespace} ${to.address}`;
    const left = (this.#lost.get(way) ?? 1) - 1;
    this.#lost.set(way, left);
    if (left > 0) return;
    try {
      ip('-n', from.namespace, 'neighbour', 'delete', to.address, 'dev', DEVICE);
    } catch (thrown) {
      // A host that was taken off the network meanwhile has forgotten its neighbours.
      if (!String(thrown).includes('No such file')) throw thrown;
    }
  }

  /** Takes the host off the network, so that it notices. */
  unplug(host: Host): void {
    ip('-n', host.namespace, 'link', 'set', DEVICE, 'down');
  }

  plug(host: Host): void {
    ip('-n', host.namespace, 'link', 'set', DEVICE, 'up');
  }

  /** To be called once no process of theirs lives. */
  remove(): void {
    open.delete(this);
    for (const { namespace } of this.#hosts.values()) quietly('netns', 'delete', namespace);
    this.#hosts.clear();
    quietly('link', 'delete', BRIDGE);
  }
}

/** What a process that was killed left behind. */
function sweep(): void {
  if (!existsSync(NAMES)) return;
  for (const name of readdirSync(NAMES)) {
    const [, pid] = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) quietly('netns', 'delete', name);
  }
}

function quietly(...args: readonly string[]): void {
  try {
    ip(...args);
  } catch {
    // It was not made, or is gone: either is what was wanted.
  }
}
