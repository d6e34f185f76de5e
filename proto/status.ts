/**
 * An error of our table as gRPC carries it, there and back: the table's status, and in the trailer `grpc-status-details-bin` what gRPC's richer error model has
 * (google.rpc.Status), so that any client can read it: an ErrorInfo whose reason is our code, and what to do next as a LocalizedMessage.
 * Not for: what a status without these means (call.ts).
 */
import { Metadata } from '@grpc/grpc-js';
import { ErrorInfo, LocalizedMessage } from 'nice-grpc-error-details/lib/proto/google/rpc/error_details.js';
import { Status } from 'nice-grpc-error-details/lib/proto/google/rpc/status.js';
import { errorTable, isErrorCode, type AlumnusError, type ErrorCode } from './errors.ts';

/** Of ErrorInfo: whose reasons these are. */
const DOMAIN = 'alumnus';
const TRAILER = 'grpc-status-details-bin';
const urlOf = ({ $type }: { readonly $type: string }): string => `type.googleapis.com/${$type}`;

export interface CarriedStatus {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
}

export function statusOf(error: AlumnusError): CarriedStatus {
  const code = errorTable[error.code].grpc;
  const info = ErrorInfo.fromPartial({ reason: error.code, domain: DOMAIN, metadata: { retryable: String(error.retryable), where: error.where } });
  const next = LocalizedMessage.fromPartial({ locale: 'en', message: error.remedy });
  const rich = Status.fromPartial({
    code, message: error.message,
    details: [{ typeUrl: urlOf(ErrorInfo), value: ErrorInfo.encode(info).finish() }, { typeUrl: urlOf(LocalizedMessage), value: LocalizedMessage.encode(next).finish() }],
  });
  const metadata = new Metadata();
  metadata.set(TRAILER, Buffer.from(Status.encode(rich).finish()));
  return { code, details: error.message, metadata };
}

/** What these trailers carry; undefined where they carry no error of ours, or what nobody can read. */
export function carriedBy(metadata: Metadata | undefined): { readonly code: ErrorCode; readonly where: string } | undefined {
  const [bytes] = metadata?.get(TRAILER) ?? [];
  if (!Buffer.isBuffer(bytes)) return undefined;
  try {
    for (const { typeUrl, value } of Status.decode(bytes).details) {
      if (typeUrl !== urlOf(ErrorInfo)) continue;
      const { domain, reason, metadata: more } = ErrorInfo.decode(value);
      if (domain === DOMAIN && isErrorCode(reason)) return { code: reason, where: more['where'] ?? '' };
    }
  } catch {
    // Of another program than ours: a status without details says as much.
  }
  return undefined;
}
