/** A temporary file that has lost its name before its first byte: it is gone with its handle, also after a crash. */
import { randomUUID } from 'node:crypto';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export async function openScratch(): Promise<FileHandle> {
  const path = join(tmpdir(), `alumnus-import-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}
