/**
 * What a person sees of set-up: one line a step, on stderr. On a terminal a running step rewrites its own line (seconds,
 * and a bar where bytes are known); elsewhere, or with NO_COLOR, each step prints plain lines and nothing moves.
 */
const terminal = process.stderr.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb' && !process.env.CI;

const refreshMs = 200;
/** Without a terminal, bytes are reported at each of these shares. */
const plainShares = [0.25, 0.5, 0.75];
const barWidth = 24;

let live;

function write(text) {
  process.stderr.write(text);
}

export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

function seconds(sinceMs) {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

function bar(done, total) {
  const filled = Math.min(barWidth, Math.floor((done / total) * barWidth));
  return `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${megabytes(done)} of ${megabytes(total)}`;
}

function draw() {
  const bytes = live.total > 0 ? `  ${bar(live.done, live.total)}` : '';
  write(`\r\x1b[2K  ${live.name}${bytes}  ${seconds(live.startMs)}`);
}

/** Prints a line without disturbing a running step. */
export function say(line) {
  if (terminal && live) write('\r\x1b[2K');
  write(`${line}\n`);
  if (terminal && live) draw();
}

/**
 * Runs `work` as a named step. `work` gets `report(doneBytes, totalBytes)`.
 * @template T
 * @param {string} name what is being done, lower case
 * @param {(report: (done: number, total: number) => void) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(name, work) {
  const startMs = performance.now();
  const outer = live;
  const own = { name, startMs, done: 0, total: 0 };
  live = own;
  let timer;
  if (terminal) {
    draw();
    timer = setInterval(() => live === own && draw(), refreshMs);
    timer.unref();
  } else {
    write(`  ${name} …\n`);
  }
  let sharesSaid = 0;
  const report = (done, total) => {
    own.done = done;
    own.total = total;
    if (terminal) return;
    while (sharesSaid < plainShares.length && done >= plainShares[sharesSaid] * total) {
      sharesSaid += 1;
      write(`  ${name}: ${megabytes(done)} of ${megabytes(total)}\n`);
    }
  };
  let ended = 'failed';
  try {
    const result = await work(report);
    ended = 'done';
    return result;
  } finally {
    clearInterval(timer);
    live = outer;
    if (terminal) write(`\r\x1b[2K${ended === 'done' ? '\x1b[32m✓\x1b[0m' : '\x1b[31m✗\x1b[0m'} ${name}  ${seconds(startMs)}\n`);
    else write(`  ${name}: ${ended} in ${seconds(startMs)}\n`);
  }
}
