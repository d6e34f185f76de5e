/** The public door of `telemetry`: how a process tells operators of itself: a log, metrics for Prometheus, spans for OpenTelemetry. Not for: what is told, which each program knows; nothing here decides anything. */
export { openLog, type About, type Log } from './log.ts';
export { serveMetrics, type MetricsServer } from './metrics-server.ts';
export { counter, gauge, histogram, StoreMetrics, WRITE_BUCKETS } from './metrics.ts';
export type { EndedSpan, Traces } from './span.ts';
export { openTraces } from './traces.ts';
