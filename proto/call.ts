/**
 * What every caller of a coordinator shares: a gRPC status as the error it carries, and which of several coordinators to
 * ask. Not for: waiting between tries, nor for which calls may be tried again; the caller knows.
 */
import type { ServiceError } from '@grpc/grpc-js';
import { AlumnusError, grpcStatus } from './errors.ts';
import { carriedBy } from './status.ts';

/** Addresses learned from redirects and kept beside those that were given: as many coordinators as a fleet ever has. */
const LEARNED_MAX = 8;

/** Whether a `host:port` is every address of a machine to whoever listens on it, and so none to whoever would go there. */
export const isWildcard = (address: string): boolean => /^(0\.0\.0\.0|\[::\]|::|\*):\d+$/.test(address);

const isServiceError = (thrown: unknown): thrown is ServiceError =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'number' && 'details' in thrown;

/** The error of our table that a status carries; of a status without one, what the network or the library meant. @param secured whether the call was made over TLS */
export function fromStatus(thrown: unknown, address: string, secured = false): Error {
  if (!isServiceError(thrown)) return thrown instanceof Error ? thrown : new Error(String(thrown));
  const carried = carriedBy(thrown.metadata);
  if (carried !== undefined) return new AlumnusError(carried.code, thrown.details, { where: carried.where, cause: thrown });
  const options = { where: address, cause: thrown };
  switch (thrown.code) {
    case grpcStatus.unavailable: return unavailable(thrown.details, secured, options);
    case grpcStatus.deadlineExceeded: return new AlumnusError('TIMED_OUT', 'the coordinator did not answer in time', options);
    // Whoever cancels a call of its own doesn't ask how it ended: this is a coordinator that stops.
    case grpcStatus.cancelled: return new AlumnusError('UNREACHABLE', 'the coordinator ended the call', options);
    case grpcStatus.unimplemented: return new AlumnusError('USAGE', 'what answers there is no coordinator, or one of another release', options);
    // Of a proxy between us and the coordinator, which says why in words of its own.
    case grpcStatus.unauthenticated: return new AlumnusError('ACCESS_UNAUTHENTICATED', thrown.details || 'the call carries no token that is known there', options);
    case grpcStatus.permissionDenied: return new AlumnusError('ACCESS_REFUSED', thrown.details || 'the call is not allowed', options);
    default: return new AlumnusError('INTERNAL', thrown.details, options);
  }
}

/** gRPC says of a connection that failed only how, in the words of OpenSSL and Node.js. */
function unavailable(details: string, secured: boolean, options: { where: string; cause: unknown }): AlumnusError {
  const untrusted = (what: string): AlumnusError => new AlumnusError('ACCESS_UNTRUSTED', what, options);
  if (!secured) return new AlumnusError('UNREACHABLE', /Failed to connect|ECONNRESET|Connection dropped/.test(details) ? 'what answers there ends the connection: it may speak TLS alone (--tls-ca FILE, or --tls)' : 'no coordinator answers there', options);
  if (/ALTNAME_INVALID/.test(details)) return untrusted('the certificate that is shown there is for another name');
  if (/alert (certificate required|bad certificate|unknown ca|handshake failure)/.test(details)) return new AlumnusError('ACCESS_UNAUTHENTICATED', 'it wants a certificate of the client\'s own, by an authority that it knows (--tls-cert and --tls-key of `alumnus config set-context`)', options);
  if (/wrong version number|packet length too long|unexpected message|disconnected before secure TLS connection/i.test(details)) return untrusted('what answers there does not speak TLS');
  if (/certificate has expired|not yet valid/i.test(details)) return untrusted('the certificate that is shown there has expired, or is not valid yet');
  if (/certificate|self-signed/i.test(details)) return untrusted('the certificate that is shown there is not trusted');
  return new AlumnusError('UNREACHABLE', 'no coordinator answers there', options);
}

const isSaid = (error: AlumnusError): boolean => isServiceError(error.cause) && carriedBy(error.cause.metadata) !== undefined;

/** Whether another coordinator should be asked, or this one over a new connection: it does not lead, or it said nothing. */
export const isAway = (error: AlumnusError): boolean => error.code === 'NOT_LEADER' || error.code === 'UNREACHABLE' || (error.code === 'TIMED_OUT' && !isSaid(error));

/**
 * Which coordinator to ask: the one that answered last, or where it sends us, else the next in turn.
 * Invariant: every address that was given is asked within as many turns as there are addresses.
 */
export class Addresses {
  readonly #all: string[];
  readonly #given: number;
  /** Asked in vain since one answered or a round ended. */
  readonly #vain = new Set<string>();
  #at = 0;

  /** @param list `host:port`, several separated by commas. @throws AlumnusError USAGE */
  constructor(list: string) {
    this.#all = list.split(',').map((each) => each.trim()).filter((each) => each !== '');
    this.#given = this.#all.length;
    const bad = this.#all.find((each) => !/^[^\s,]+:\d{1,5}$/.test(each));
    if (this.#given === 0 || bad !== undefined) throw new AlumnusError('USAGE', 'a coordinator is named by host:port, several with commas between them', { where: bad ?? list });
  }

  get current(): string {
    return this.#all[this.#at] ?? '';
  }

  /** All that may be asked, for people. */
  get text(): string {
    return this.#all.slice(0, this.#given).join(',');
  }

  /** Goes to the leader that a standby names; to the next address where it names none, or names the one that just failed us. */
  redirect(leader: string): void {
    if (leader === '' || leader === this.current || !/^[^\s,]+:\d{1,5}$/.test(leader)) return this.next();
    const known = this.#all.indexOf(leader);
    if (known >= 0) {
      this.#at = known;
      return;
    }
    if (this.#all.length - this.#given >= LEARNED_MAX) this.#all.splice(this.#given, 1);
    this.#at = this.#all.push(leader) - 1;
  }

  /** The one asked does not answer, or does not lead. */
  next(): void {
    this.#at = (this.#at + 1) % this.#all.length;
  }

  /**
   * Goes on after a call that failed because its coordinator is away or does not lead. A standby may still name a leader
   * that is gone: nobody is asked twice in a round. True where a round has ended: every address was asked in vain, and
   * it is time to wait a little before the next.
   */
  failed(error: AlumnusError): boolean {
    this.#vain.add(this.current);
    if (error.code === 'NOT_LEADER' && !this.#vain.has(error.where)) this.redirect(error.where);
    else this.next();
    for (let turns = this.#all.length; turns > 0 && this.#vain.has(this.current); turns -= 1) this.next();
    if (!this.#vain.has(this.current)) return false;
    this.#vain.clear();
    return true;
  }

  answered(): void {
    this.#vain.clear();
  }
}
