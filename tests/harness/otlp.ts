/** A receiver of OpenTelemetry's protocol over HTTP with JSON, on loopback: what it is sent is kept as it is. Not for: what a collector does with it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

interface AnyValue {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
}
interface Attribute {
  readonly key: string;
  readonly value: AnyValue;
}
interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[];
  }[];
}
interface WireSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status: { readonly code: number; readonly message?: string };
}

export interface Span {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty of a root. */
  readonly parent: string;
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly links: readonly string[];
  /** Empty where it did not fail. */
  readonly error: string;
}

const ERROR = 2;

const attributesOf = (attributes: readonly Attribute[]): Record<string, string | number> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.doubleValue ?? Number(value.intValue)]));

export class Receiver {
  readonly spans: Span[] = [];
  /** Of what it was sent. */
  readonly contentTypes = new Set<string>();
  readonly endpoint: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
        this.contentTypes.add(request.headers['content-type'] ?? '');
        if (request.url !== '/v1/traces') return void response.writeHead(404).end();
        if (request.headers['content-type'] === 'application/json') this.#take(JSON.parse(Buffer.concat(chunks).toString('utf8')) as Export);
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
  }

  static async start(): Promise<Receiver> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Receiver(server);
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #take({ resourceSpans }: Export): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = String(attributesOf(resource.attributes)['service.name']);
      for (const { traceId, spanId, parentSpanId = '', name, startTimeUnixNano, endTimeUnixNano, attributes, links = [], status } of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          service, traceId, spanId, parent: parentSpanId, name, startMs: Number(BigInt(startTimeUnixNano) / 1_000_000n), endMs: Number(BigInt(endTimeUnixNano) / 1_000_000n),
          attributes: attributesOf(attributes), links: links.map((link) => link.spanId), error: status.code === ERROR ? status.message ?? 'failed' : '',
        });
      }
    }
  }
}
