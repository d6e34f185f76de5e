/** A small disk in memory that a test can fill and free: a tmpfs, mounted over a folder. Linux and root only. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const CHUNK_BYTES = 1024 * 1024;
const MEBIBYTE = 1024 * 1024;

const mounted = new Set<Disk>();
process.on('exit', () => {
  for (const disk of mounted) disk.unmount();
});

export class Disk {
  readonly #folder: string;
  readonly #ballast: string;

  /** @param folder exists, is empty, and lies on the disk from now on */
  constructor(folder: string, mebibytes: number) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes * MEBIBYTE}`, 'tmpfs', folder]);
    this.#folder = folder;
    this.#ballast = join(folder, '.ballast');
    mounted.add(this);
  }

  /** Takes what is free, to the last byte. */
  fill(): void {
    const file = openSync(this.#ballast, 'a');
    try {
      for (let bytes = CHUNK_BYTES; bytes > 0;) {
        try {
          writeSync(file, Buffer.alloc(bytes));
        } catch (thrown) {
          if ((thrown as NodeJS.ErrnoException).code !== 'ENOSPC') throw thrown;
          bytes = bytes >> 1;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  /** To be called once nobody uses it. */
  unmount(): void {
    if (!mounted.delete(this)) return;
    execFileSync('umount', ['--lazy', this.#folder]);
  }
}
