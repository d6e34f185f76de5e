/** A TCP relay on loopback, between workers and their coordinator or a coordinator and its journal, that can keep answers or everything to itself. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Proxy {
  readonly address: string;
  readonly #server: Server;
  readonly #answers = new Set<Socket>();
  #muted = false;
  #refusing = false;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.address = `127.0.0.1:${port}`;
  }

  static start(target: () => string): Promise<Proxy> {
    return new Promise((resolve, reject) => {
      const server = createServer((client) => {
        if (proxy.#refusing) {
          client.destroy();
          return;
        }
        const [host, port] = target().split(':');
        const upstream = connect(Number(port), host);
        proxy.#answers.add(upstream);
        client.pipe(upstream);
        upstream.on('data', (bytes) => {
          if (!proxy.#muted) client.write(bytes);
        });
        const end = (): void => {
          proxy.#answers.delete(upstream);
          client.destroy();
          upstream.destroy();
        };
        for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
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

  /** Ends all connections; new ones are made as before, and see answers again. */
  cut(): void {
    this.#muted = false;
    for (const socket of this.#answers) socket.destroy();
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
}
