/** `GET /metrics` for Prometheus, at an address of its own. Not for: anything else over HTTP. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';

const PORT_MAX = 65_535;

export interface MetricsServer {
  /** `host:port` that is listened on. */
  readonly address: string;
  close(): Promise<void>;
}

/** @param listen `host:port`; port 0 takes any that is free @throws AlumnusError PORT_IN_USE, USAGE naming the address */
export async function serveMetrics(registry: Registry, listen: string): Promise<MetricsServer> {
  if (!/^.+:\d{1,5}$/.test(listen) || Number(listen.slice(listen.lastIndexOf(':') + 1)) > PORT_MAX) throw new AlumnusError('USAGE', 'must be host:port', { where: '--metrics' });
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, text: string): void => void response.writeHead(status, { 'content-type': type }).end(text);
    if (request.method !== 'GET' || request.url !== '/metrics') return answer(404, 'text/plain', 'GET /metrics\n');
    registry.metrics().then((text) => answer(200, registry.contentType, text), (thrown: unknown) => answer(500, 'text/plain', `${toAlumnusError(thrown).sentence}\n`));
  });
  const at = listen.lastIndexOf(':');
  const host = listen.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  await new Promise<void>((resolve, reject) => {
    server.once('error', (thrown: NodeJS.ErrnoException) => reject(thrown.code === 'EADDRINUSE' ? new AlumnusError('PORT_IN_USE', 'another program listens where metrics were to be served', { where: `--metrics ${listen}`, cause: thrown }) : new AlumnusError('USAGE', `cannot listen: ${thrown.message}`, { where: listen, cause: thrown })));
    server.listen({ host, port: Number(listen.slice(at + 1)) }, resolve);
  });
  return {
    address: `${listen.slice(0, at)}:${(server.address() as AddressInfo).port}`,
    close: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    }),
  };
}
