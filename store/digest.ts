/** The one digest everything is addressed by: SHA-256 in lower-case hex. */
import { createHash, hash } from 'node:crypto';

export const sha256 = (content: Uint8Array | string): string => hash('sha256', content, 'hex');

export const sha256Stream = (): { update(chunk: Uint8Array): unknown; digest(encoding: 'hex'): string } => createHash('sha256');
