/**
 * A Python of the tests' own with TensorFlow and ONNX Runtime, in the cache: other people's readers of what we write. Made by pip when it is first asked for
 * (some 1.7 GB); a machine that cannot make it leaves those tests out and says why, and fails under CI=true.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../../deploy/setup/platform.mjs';

const call = promisify(execFile);

const versions = { 'tensorflow-cpu': '2.21.0', 'onnxruntime': '1.32.0', 'numpy': '2.4.6' } as const;

export interface Python {
  readonly interpreter: string;
  /** What it must be started with. */
  readonly env: Readonly<Record<string, string>>;
}

/** As the project's own set-up finds it. */
async function pipOf(interpreter: string): Promise<[string, ...string[]]> {
  const own = await call(interpreter, ['-m', 'pip', '--version']).then(() => true, () => false);
  return own ? [interpreter, '-m', 'pip'] : ['pip'];
}

/** Or the reason why there is none. @throws under CI=true instead of a reason */
export async function pythonOfExports(): Promise<{ readonly python: Python } | { readonly reason: string }> {
  const cache = cacheFolder(process.env);
  const folder = join(cache, `python-exports-${versions['tensorflow-cpu']}-${versions.onnxruntime}-2`);
  const interpreter = process.env['PYTHON'] ?? 'python3';
  const python = { interpreter, env: { PYTHONPATH: folder } };
  if (existsSync(folder)) return { python };
  const draft = `${folder}.${process.pid}`;
  try {
    mkdirSync(cache, { recursive: true });
    process.stderr.write('  TensorFlow and ONNX Runtime for Python (pip, some 350 MB to fetch) …\n');
    // A folder of packages, not a virtual environment: Debian's Python makes none without one more package of the system.
    const [command, ...before] = await pipOf(interpreter);
    await call(command, [...before, 'install', '--quiet', '--disable-pip-version-check', '--target', draft, ...Object.entries(versions).map(([name, version]) => `${name}==${version}`)], { maxBuffer: 2 ** 26 });
    // Whole, or not there.
    renameSync(draft, folder);
    return { python };
  } catch (thrown) {
    const reason = `Python with TensorFlow and ONNX Runtime could not be set up: ${(thrown as Error).message.split('\n')[0]}`;
    if (process.env.CI === 'true') throw new Error(reason, { cause: thrown });
    return { reason };
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}
