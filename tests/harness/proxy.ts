/** A TCP relay on loopback between two parties of a test. It can keep answers or everything to itself, and disturb what passes as a network does. */
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

interface Connection {
  readonly client: Socket;
  readonly upstream: Socket;
  index: number;
  requestBytes: number;
  answerBytes: number;
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

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
    this.address = `127.0.0.1:${port}`;
  }

  static start(target: () => string): Promise<Proxy> {
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
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        proxy = new Proxy(server, typeof address === 'object' && address !== null ? address.port : 0);
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
    const connection: Connection = { client, upstream, index: -1, requestBytes: 0, answerBytes: 0 };
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
      this.#pass(connection, client, upstream, verdict);
    });
    upstream.on('data', (chunk: Buffer) => {
      if (this.#muted) return;
      const verdict = this.#disturbance.answers?.(chunk, passing(connection.answerBytes)) ?? chunk;
      connection.answerBytes += chunk.byteLength;
      this.#pass(connection, upstream, client, verdict);
    });
    const end = (): void => {
      this.#connections.delete(connection);
      client.destroy();
      upstream.destroy();
    };
    // What was read is written before the end is passed on.
    upstream.on('end', () => client.end());
    client.on('end', () => upstream.end());
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
  }

  #pass({ client, upstream }: Connection, from: Socket, to: Socket, verdict: Verdict): void {
    if (verdict === 'reset') {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
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
