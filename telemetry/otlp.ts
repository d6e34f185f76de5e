/** Spans to an OpenTelemetry collector by OTLP, with OpenTelemetry's own SDK. Loaded where an endpoint is set, and nowhere else. Not for: what spans are of (span.ts). */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type SpanContext } from '@opentelemetry/api';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, RandomIdGenerator, type IdGenerator, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { AlumnusError } from '../proto/errors.ts';
import type { SpanIds } from '../proto/trace.ts';
import type { Log } from './log.ts';
import type { Traces, TracesOptions } from './span.ts';

/** A process that stops does not wait longer for a collector: spans are worth less than its end. */
const CLOSE_MS_MAX = 2_000;

const KINDS = { client: SpanKind.CLIENT, server: SpanKind.SERVER, internal: SpanKind.INTERNAL } as const;

/** The specification's own default. */
const PROTOCOL_DEFAULT = 'http/protobuf';

/** Each reads endpoint, headers, time-out and the rest from the environment by itself. */
const exporters: Readonly<Record<string, (config: { timeoutMillis?: number }) => Promise<SpanExporter>>> = {
  'http/protobuf': async (config) => new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter(config),
  'http/json': async (config) => new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter(config),
  grpc: async (config) => new (await import('@opentelemetry/exporter-trace-otlp-grpc')).OTLPTraceExporter(config),
};

export async function exportTraces({ service, version, env, log, sendMsMax }: TracesOptions): Promise<Traces> {
  const protocol = env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? env.OTEL_EXPORTER_OTLP_PROTOCOL ?? PROTOCOL_DEFAULT;
  const exporter = Object.hasOwn(exporters, protocol) ? exporters[protocol] : undefined;
  if (exporter === undefined) throw new AlumnusError('USAGE', `must be ${Object.keys(exporters).join(', ')}, not "${protocol}"`, { where: 'OTEL_EXPORTER_OTLP_PROTOCOL' });
  const ids = new GivenIds();
  const resource = defaultResource().merge(resourceFromAttributes({ 'service.name': service, 'service.version': version, 'process.pid': process.pid })).merge(detectResources({ detectors: [envDetector] }));
  const provider = new BasicTracerProvider({ resource, idGenerator: ids, spanProcessors: [new BatchSpanProcessor(told(await exporter(sendMsMax === undefined ? {} : { timeoutMillis: sendMsMax }), log))] });
  const tracer = provider.getTracer('alumnus', version);
  return {
    ended({ name, ids: own, parent, links = [], kind = 'internal', startMs, endMs, attributes, error }) {
      const context = parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, contextOf(parent));
      ids.next = own;
      const span = tracer.startSpan(name, { kind: KINDS[kind], startTime: new Date(startMs), attributes, links: links.map((each) => ({ context: contextOf(each) })) }, context);
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span.end(new Date(endMs));
    },
    close: () => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_MS_MAX);
      });
      return Promise.race([provider.shutdown().catch(() => undefined), late]).finally(() => clearTimeout(timer));
    },
  };
}

/** Always sampled, as in proto/trace.ts; a sampler of the environment's that looks at trace ids decides the same everywhere. */
const contextOf = ({ traceId, spanId }: SpanIds): SpanContext => ({ traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });

/** Draws ids but where the span's that begins are given. */
class GivenIds implements IdGenerator {
  readonly #drawn = new RandomIdGenerator();
  next: SpanIds | undefined;

  /** Asked of a root alone. */
  generateTraceId(): string {
    return this.next?.traceId ?? this.#drawn.generateTraceId();
  }

  generateSpanId(): string {
    return this.next?.spanId ?? this.#drawn.generateSpanId();
  }
}

/** Says that the collector takes no spans once, and once that it does again: the run goes on without them. */
function told(exporter: SpanExporter, log: Log): SpanExporter {
  let isLost = false;
  return {
    export: (spans, done) => exporter.export(spans, (result) => {
      const failed = result.code !== 0;
      if (failed && !isLost) log(`spans cannot be sent to the collector of OTEL_EXPORTER_OTLP_ENDPOINT: ${result.error?.message ?? 'it does not say why'}`, { level: 'warn' });
      if (!failed && isLost) log('sends spans again');
      isLost = failed;
      done(result);
    }),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}
