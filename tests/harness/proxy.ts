/**
 * A TCP relay between two parties of a test, on loopback or another address of the test's own. It can keep answers or
 * everything to itself, disturb what passes chunk by chunk (`disturb`), and be a bad line as a whole (`impose`).
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

/** What becomes of some bytes: they (or others) go on, the connection is reset on both sides, stands still for good, or the client is answered in the server's place. */
export type Verdict = Buffer | 'reset' | 'stall' | { readonly answer: string };

export interface Passing {
  /** Of the connection, from 0; counted since the last `disturb`. */
  readonly connection: number;
  /** How many bytes of this direction passed before these, on this connection since the last `disturb`. */
  readonly before: number;
}

export interface Disturbance {
  readonly requests?: (chunk: Buffer, passing: Passing) => Verdict;
  readonly answers?: (chunk: Buffer, passing: Passing) => Verdict;
}

/**
 * What the line does until `heal`:
 *  - `delay`: everything comes later, in order.
 *  - `stall`: nothing moves; what was sent meanwhile comes after `heal`.
 *  - `reset`: every connection is reset, and every new one as soon as it says something.
 *  - `half-open`: the server's side of the present connections is closed and the client isn't told, not by `heal` either. New ones are relayed.
 *  - `lose requests`, `lose answers`: bytes of one direction vanish; connections that lost some are reset by `heal`.
 */
export const lineFaults = ['delay', 'stall', 'reset', 'half-open', 'lose requests', 'lose answers'] as const;
export type LineFault = (typeof lineFaults)[number];

/** Far above what a line on one machine takes, far below any limit of a call: everything becomes slow and nothing may fail. */
const DELAY_MS = 300;

interface Connection {
  readonly client: Socket;
  readonly upstream: Socket;
  index: number;
  requestBytes: number;
  answerBytes: number;
  /** Chunks that a stall holds, in order. */
  readonly held: (() => void)[];
  /** Its server's side is closed, and its client doesn't know. */
  severed: boolean;
  lossy: boolean;
}

export class Proxy {
  readonly address: string;
  readonly port: number;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #muted = false;
  #disturbance: Disturbance = {};
  #seen = 0;
  #refusing = false;
  #line: LineFault | undefined;

  private constructor(server: Server, host: string, port: number) {
    this.#server = server;
    this.port = port;
    this.address = `${host}:${port}`;
  }

  /** @param listen default any free port of loopback */
  static start(target: () => string, listen: { host?: string; port?: number } = {}): Promise<Proxy> {
    return new Promise((resolve, reject) => {
      const server = createServer((client) => {
        const [host, port] = target().split(':');
        if (proxy.#refusing) {
          client.destroy();
          return;
        }
        proxy.#relay(client, connect(Number(port), host));
      });
      let proxy: Proxy;
      server.once('error', reject);
      const at = listen.host ?? '127.0.0.1';
      server.listen(listen.port ?? 0, at, () => {
        const address = server.address();
        proxy = new Proxy(server, at, typeof address === 'object' && address !== null ? address.port : 0);
        resolve(proxy);
      });
    });
  }

  /** From now on requests arrive and answers do not. */
  mute(): void {
    this.#muted = true;
  }

  unmute(): void {
    this.#muted = false;
  }

  /** From now on, and on open connections too; without an argument everything passes again. */
  disturb(disturbance: Disturbance = {}): void {
    this.#disturbance = disturbance;
    this.#seen = 0;
    for (const connection of this.#connections) {
      connection.index = -1;
      connection.requestBytes = 0;
      connection.answerBytes = 0;
    }
  }

  /** From now on, and on open connections too, until `heal`. */
  impose(fault: LineFault): void {
    this.heal();
    this.#line = fault;
    if (fault === 'half-open') {
      for (const connection of this.#connections) {
        connection.severed = true;
        connection.upstream.destroy();
      }
    }
    if (fault === 'reset') for (const connection of this.#connections) reset(connection);
  }

  heal(): void {
    this.#line = undefined;
    for (const connection of [...this.#connections]) {
      for (const pass of connection.held.splice(0)) pass();
      if (connection.severed) continue;
      if (connection.lossy) reset(connection);
      connection.client.resume();
      connection.upstream.resume();
    }
  }

  /** Connections that carried something since the last `disturb`. */
  get seen(): number {
    return this.#seen;
  }

  /** Ends all connections; new ones are made as before, and see answers again. */
  cut(): void {
    this.#muted = false;
    for (const { client, upstream } of this.#connections) {
      client.destroy();
      upstream.destroy();
    }
  }

  /** From now on nothing passes, until `admit`. */
  refuse(): void {
    this.#refusing = true;
    this.cut();
  }

  admit(): void {
    this.#refusing = false;
  }

  stop(): void {
    this.#server.close();
    this.cut();
  }

  #relay(client: Socket, upstream: Socket): void {
    const connection: Connection = { client, upstream, index: -1, requestBytes: 0, answerBytes: 0, held: [], severed: false, lossy: false };
    this.#connections.add(connection);
    const passing = (before: number): Passing => {
      if (connection.index < 0) {
        connection.index = this.#seen;
        this.#seen += 1;
      }
      return { connection: connection.index, before };
    };
    client.on('data', (chunk: Buffer) => {
      const verdict = this.#disturbance.requests?.(chunk, passing(connection.requestBytes)) ?? chunk;
      connection.requestBytes += chunk.byteLength;
      this.#onLine(connection, client, 'lose requests', () => this.#pass(connection, client, upstream, verdict));
    });
    upstream.on('data', (chunk: Buffer) => {
      if (this.#muted) return;
      const verdict = this.#disturbance.answers?.(chunk, passing(connection.answerBytes)) ?? chunk;
      connection.answerBytes += chunk.byteLength;
      this.#onLine(connection, upstream, 'lose answers', () => this.#pass(connection, upstream, client, verdict));
    });
    const end = (from: Socket) => (): void => {
      if (connection.severed && from === upstream) return;
      this.#connections.delete(connection);
      client.destroy();
      upstream.destroy();
    };
    // What was read is written before the end is passed on.
    upstream.on('end', () => this.#onLine(connection, upstream, 'lose answers', () => client.end()));
    client.on('end', () => this.#onLine(connection, client, 'lose requests', () => upstream.end()));
    for (const socket of [client, upstream]) socket.on('error', end(socket)).on('close', end(socket));
  }

  /** What the line makes of what `from` said. */
  #onLine(connection: Connection, from: Socket, loss: LineFault, pass: () => void): void {
    if (connection.severed) return;
    if (this.#line === 'reset') reset(connection);
    else if (this.#line === 'stall') {
      connection.held.push(pass);
      from.pause();
    } else if (this.#line === 'delay') setTimeout(pass, DELAY_MS);
    else if (this.#line === loss) connection.lossy = true;
    else pass();
  }

  #pass({ client, upstream }: Connection, from: Socket, to: Socket, verdict: Verdict): void {
    if (verdict === 'reset') {
      reset({ client, upstream });
    } else if (verdict === 'stall') {
      from.pause();
    } else if (Buffer.isBuffer(verdict)) {
      // A slow reader slows the writer down: a proxy must not hold a whole object.
      if (!to.write(verdict)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    } else {
      upstream.destroy();
      client.end(verdict.answer);
    }
  }
}

function reset({ client, upstream }: Pick<Connection, 'client' | 'upstream'>): void {
  client.resetAndDestroy();
  upstream.resetAndDestroy();
}
