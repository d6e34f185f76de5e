/**
 * Uploads: bytes to one object in one request, or in parts that are sent a few at a time; and what the server's ETag says
 * of them. Not for: whether an object is written at all, or again; that is store.ts.
 * Invariants: (1) every request carries the MD5 of its bytes; (2) memory is that of PARTS_AT_ONCE parts, whatever is sent.
 */
import { createHash } from 'node:crypto';
import { etagOf, unquoted, type Bucket } from './bucket.ts';
import { BrokenAnswerError, failureOf, xmlText } from './failure.ts';
import { SPOOL_MEMORY_BYTES_MAX, type Spool } from './spool.ts';

/** S3 takes parts from 5 MiB on; larger ones cost memory, smaller ones requests. The same bytes are always cut alike, so that ETags compare. */
export const PART_BYTES = SPOOL_MEMORY_BYTES_MAX;
/** S3's limit of parts; a larger object gets larger parts. */
const PARTS_MAX = 10_000;
/** Fills a connection to a server nearby; three parts are 48 MiB of memory. */
const PARTS_AT_ONCE = 3;

/** One request. @returns the server's ETag */
export async function putSingle(bucket: Bucket, key: string, body: Buffer, headers: Readonly<Record<string, string>>, conditional: boolean): Promise<string> {
  const md5 = createHash('md5').update(body).digest('base64');
  const { response } = await bucket.text({ method: 'PUT', key, body, headers: { ...headers, 'content-type': 'application/octet-stream', 'content-md5': md5, ...(conditional ? { 'if-none-match': '*' } : {}) } });
  return etagOf(response);
}

export async function putParts(bucket: Bucket, key: string, spool: Spool, headers: Readonly<Record<string, string>>): Promise<string> {
  const uploadId = await bucket.retries.run(async () => {
    const { text } = await bucket.text({ method: 'POST', key, query: 'uploads=', headers: { ...headers, 'content-type': 'application/octet-stream' } });
    const id = xmlText(text, 'UploadId');
    if (id === undefined) throw new BrokenAnswerError('the answer names no upload');
    return id;
  });
  const upload = `uploadId=${encodeURIComponent(uploadId)}`;
  try {
    const etags = await sendParts(bucket, key, upload, spool);
    const body = Buffer.from(`<CompleteMultipartUpload>${etags.map((etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>"${etag}"</ETag></Part>`).join('')}</CompleteMultipartUpload>`);
    return await bucket.retries.run(async () => {
      const { text } = await bucket.text({ method: 'POST', key, query: upload, body, headers: { 'content-type': 'application/xml' } });
      // S3 may begin its answer with 200 and fail afterwards.
      if (text.includes('<Error>')) throw failureOf(500, text, '');
      const etag = xmlText(text, 'ETag');
      if (etag === undefined) throw new BrokenAnswerError('the answer names no ETag');
      return unquoted(etag);
    });
  } catch (thrown) {
    // Best effort, once: what stays is swept by the bucket's lifecycle rule.
    await bucket.text({ method: 'DELETE', key, query: upload }).catch(() => undefined);
    throw thrown;
  }
}

async function sendParts(bucket: Bucket, key: string, upload: string, spool: Spool): Promise<string[]> {
  const bounds = partBounds(spool.bytes);
  const etags = new Array<string>(bounds.length);
  let next = 0;
  let failed = false;
  const send = async (): Promise<void> => {
    // One part's memory for all parts that are sent one after the other: garbage of this size piles up.
    const [, partBytes] = bounds[0] ?? [0, 0];
    const memory = Buffer.allocUnsafeSlow(partBytes);
    for (let at = next; at < bounds.length && !failed; at = next) {
      next = at + 1;
      const [start, end] = bounds[at] ?? [0, 0];
      try {
        const body = await spool.read(start, end, memory);
        const md5 = createHash('md5').update(body).digest();
        const etag = await bucket.retries.run(async () => {
          const { response } = await bucket.text({ method: 'PUT', key, query: `partNumber=${at + 1}&${upload}`, body, headers: { 'content-md5': md5.toString('base64') } });
          return etagOf(response);
        });
        etags[at] = etag;
      } catch (thrown) {
        failed = true;
        throw thrown;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(PARTS_AT_ONCE, bounds.length) }, send));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return etags;
}

/** Whether the ETag alone says that the server holds these bytes. */
export async function matches(etag: string, spool: Spool): Promise<boolean> {
  if (/^[0-9a-f]{32}$/.test(etag)) return etag === (await spool.md5(0, spool.bytes)).toString('hex');
  const [, count] = /^[0-9a-f]{32}-(\d+)$/.exec(etag) ?? [];
  const bounds = partBounds(spool.bytes);
  if (count === undefined || Number(count) !== bounds.length) return false;
  const all = createHash('md5');
  for (const [start, end] of bounds) all.update(await spool.md5(start, end));
  return etag === `${all.digest('hex')}-${bounds.length}`;
}

/** Where the parts of so many bytes begin and end: a function of the length alone. */
export function partBounds(bytes: number): (readonly [start: number, end: number])[] {
  const mebibyte = 1024 * 1024;
  const partBytes = Math.max(PART_BYTES, Math.ceil(bytes / PARTS_MAX / mebibyte) * mebibyte);
  return Array.from({ length: Math.ceil(bytes / partBytes) }, (_, at) => [at * partBytes, Math.min(bytes, (at + 1) * partBytes)] as const);
}
