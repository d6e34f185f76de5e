/**
 * Running other programs from set-up: output collected (its end is shown when the program fails), a missing program told
 * apart from a failing one. Children stay in our process group, so Ctrl-C reaches them; SIGTERM is passed on.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import readline from 'node:readline';

/** What is kept of a program's output: enough for an error message, bounded whatever the program prints. */
const outputKeptChars = 64 * 1024;
const detailLines = 15;

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, inherit?: boolean, onStart?: (pid: number) => void, onLine?: (line: string) => void }} [options]
 *   `inherit`: the program writes to our stdout and stderr itself
 * @returns {Promise<{ code: number, output: string, missing: boolean }>} never rejects; `missing`: there is no such program
 */
export function run(command, args, { cwd, env = process.env, inherit = false, onStart, onLine } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: inherit ? 'inherit' : ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-outputKeptChars);
    };
    child.stdout?.setEncoding('utf8').on('data', keep);
    if (onLine && child.stdout) readline.createInterface({ input: child.stdout }).on('line', onLine);
    child.stderr?.setEncoding('utf8').on('data', keep);
    const terminate = () => child.kill('SIGTERM');
    process.once('SIGTERM', terminate);
    child.on('spawn', () => onStart?.(child.pid));
    child.on('error', (error) => {
      process.removeListener('SIGTERM', terminate);
      resolve({ code: 127, output: String(error), missing: error.code === 'ENOENT' || error.code === 'EACCES' });
    });
    child.on('close', (code, signal) => {
      process.removeListener('SIGTERM', terminate);
      resolve({ code: code ?? (signal === 'SIGINT' ? 130 : 137), output, missing: false });
    });
  });
}

/** The end of a program's output, for an error message. */
export function lastLines(output, count = detailLines) {
  return output.split('\n').map((line) => line.trimEnd()).filter((line) => line !== '').slice(-count).join('\n');
}

/**
 * When a process began, in clock ticks since boot; with its id it names one process for good, although ids are reused.
 * @returns {string | undefined} undefined when there is no such process
 */
export function processStart(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
