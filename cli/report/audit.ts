/**
 * The audit document as the audit task writes it: what the pseudo-labels were worth, and pictures of some. It comes from
 * the object store, so its shape is checked before anything of it is shown.
 */
import { z } from 'zod';
import { AlumnusError } from '../../proto/errors.ts';

/** Standard base64 only: it goes into a page as a picture's address. */
const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/);
const count = z.number().int().min(0);

const item = z.object({
  key: z.string(),
  png: base64,
  label: count,
  confidence: z.number().min(0).max(1),
  truth: count.optional(),
  copies: count,
});

const auditDocument = z.object({
  schemaVersion: z.literal(1),
  classNames: z.array(z.string()),
  gallery: z.object({ right: z.array(item), wrong: z.array(item), thrownOut: z.array(item) }),
  perClass: z.array(z.object({ class: count, kept: count, right: count, labeled: count, labeledRight: count })),
});

export type AuditDocument = z.infer<typeof auditDocument>;
export type GalleryItem = AuditDocument['gallery']['right'][number];

/** @throws AlumnusError DIGEST_MISMATCH or USAGE when it is no audit document that this release reads. */
export function parseAudit(bytes: Uint8Array, where: string): AuditDocument {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch (thrown) {
    throw new AlumnusError('DIGEST_MISMATCH', 'the audit document is not JSON', { where, cause: thrown });
  }
  const parsed = auditDocument.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new AlumnusError('USAGE', `the audit document is of another release: ${issue?.path.join('.')}: ${issue?.message}`, { where, cause: parsed.error });
  }
  return parsed.data;
}
