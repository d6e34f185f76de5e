/** The public door of `worker/engine`: a child process that owns the device, seen from the worker that starts it. */
export { EngineProcess, SILENT_MS_MAX, type EngineEnd, type EngineOptions } from './process.ts';
