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

/** Its interpreter, or the reason why there is none. @throws under CI=true instead of a reason */
export async function pythonOfExports(): Promise<{ readonly python: string } | { readonly reason: string }> {
  const cache = cacheFolder(process.env);
  const folder = join(cache, `python-exports-${versions['tensorflow-cpu']}-${versions.onnxruntime}-1`);
  const python = join(folder, 'bin', 'python');
  if (existsSync(python)) return { python };
  const draft = `${folder}.${process.pid}`;
  try {
    mkdirSync(cache, { recursive: true });
    process.stderr.write('  TensorFlow and ONNX Runtime for Python (pip, some 350 MB to fetch) …\n');
    await call(process.env['PYTHON'] ?? 'python3', ['-m', 'venv', draft]);
    await call(join(draft, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', ...Object.entries(versions).map(([name, version]) => `${name}==${version}`)], { maxBuffer: 2 ** 26 });
    // Whole, or not there: only its scripts name the place where it was made.
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
