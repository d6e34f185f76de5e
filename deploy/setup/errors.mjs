/**
 * What set-up says when it cannot go on: one sentence of what is wrong and one of what to do, no stack trace.
 * Not for bugs, which are thrown as plain errors and shown with their stack.
 */

/** Exit codes, the same numbers as `exitCode` in proto/errors.ts (this folder runs before anything is compiled). */
export const exitCode = { failed: 1, usage: 2, environment: 8, interrupted: 130 };

export class SetupError extends Error {
  /**
   * @param {string} what a sentence: what is wrong
   * @param {string} remedy a sentence: what to do next
   * @param {{ exit?: number, detail?: string }} [options] `detail`: the last lines of a tool's own output
   */
  constructor(what, remedy, { exit = exitCode.environment, detail = '' } = {}) {
    super(what);
    this.name = 'SetupError';
    this.remedy = remedy;
    this.exit = exit;
    this.detail = detail;
  }
}

/**
 * Turns an operating system's error about storage into a sentence; gives any other error back as it is.
 * @param {unknown} error
 * @param {string} path where it was being written
 */
export function storageError(error, path) {
  const code = error && typeof error === 'object' && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(path);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new SetupError(`${path} cannot be written.`, 'Give yourself write access to it, or set ALUMNUS_CACHE to a directory that you can write.');
  }
  if (code === 'ENOTDIR' || code === 'EEXIST') {
    return new SetupError(`${path} cannot be a folder.`, 'Set ALUMNUS_CACHE to a directory that you can write and run the command again.');
  }
  return error;
}

export function diskFull(path, neededBytes = 0) {
  const need = neededBytes > 0 ? ` (${Math.ceil(neededBytes / 1e6)} MB are needed)` : '';
  return new SetupError(`The disk that holds ${path} is full${need}.`, 'Free some space, or set ALUMNUS_CACHE to a directory on a larger disk, and run the command again.');
}

/** Whether a tool's output reads like a missing network rather than a wrong request. */
export function looksOffline(output) {
  return /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET_TIMEOUT|network (request|timeout)|Failed to establish a new connection|Temporary failure in name resolution|NewConnectionError|ConnectTimeoutError|ReadTimeoutError|Name or service not known|ProxyError|Max retries exceeded|Connection (refused|reset|timed out)/i.test(output);
}

/** Whether a tool's output says that the disk is full. */
export function looksFull(output) {
  return /ENOSPC|No space left on device|Disk quota exceeded|EDQUOT/i.test(output);
}
