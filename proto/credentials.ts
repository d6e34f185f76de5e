/**
 * How a client of a coordinator shows who it is and checks whom it talks to: TLS for the connection, a token with each call.
 * Not for: where files and tokens are kept, nor which may do what (the coordinator's).
 * Invariant: a token leaves this machine over TLS alone, unless whoever runs the client said that it may go in the clear.
 */
import { credentials, InterceptingCall, type ChannelCredentials, type ClientOptions, type Interceptor } from '@grpc/grpc-js';
import { AlumnusError } from './errors.ts';

export interface ClientTls {
  /** PEM. Whose signature the coordinator's certificate must have; absent: one that Node.js trusts. */
  readonly ca?: Buffer;
  /** PEM, both or neither: the client's own certificate, where the coordinator asks for one. */
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** The name that the coordinator's certificate must have, where it is not the address's. */
  readonly serverName?: string;
}

export interface ClientAccess {
  /** Absent: no TLS. */
  readonly tls?: ClientTls;
  readonly token?: string;
  /** The token may go over the network without TLS. */
  readonly insecureToken?: boolean;
}

/** RFC 6750, section 2.1. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** @throws AlumnusError USAGE for what no header can carry; the token is not told */
export function checkedToken(text: string, where: string): string {
  const token = text.trim();
  if (!TOKEN.test(token)) throw new AlumnusError('USAGE', token === '' ? 'it holds no token' : 'it holds no token: one is letters, digits and . _ ~ + / - alone, without blanks', { where });
  return token;
}

/** @param address `host:port` */
const isLoopback = (address: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\]):\d+$/i.test(address);

const bearing = (token: string): Interceptor => (options, next) => new InterceptingCall(next(options), {
  start: (metadata, listener, proceed) => {
    metadata.set('authorization', `Bearer ${token}`);
    proceed(metadata, listener);
  },
});

/** What a gRPC client of `address` is made with. @throws AlumnusError USAGE for certificates that cannot be read, and for a token that would go over the network in the clear */
export function accessTo(address: string, { tls, token, insecureToken = false }: ClientAccess): { credentials: ChannelCredentials; options: ClientOptions } {
  if (token !== undefined && tls === undefined && !insecureToken && !isLoopback(address)) {
    throw new AlumnusError('USAGE', 'a token would go there in the clear for anybody on the way to read: use TLS (--tls-ca FILE, or --tls), or say --insecure-token where the network is your own', { where: address });
  }
  const options: ClientOptions = {
    ...(token === undefined ? {} : { interceptors: [bearing(token)] }),
    ...(tls?.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': tls.serverName, 'grpc.default_authority': tls.serverName }),
  };
  return { credentials: tls === undefined ? credentials.createInsecure() : secured(tls, address), options };
}

function secured({ ca, cert, key }: ClientTls, address: string): ChannelCredentials {
  if ((cert === undefined) !== (key === undefined)) throw new AlumnusError('USAGE', 'a certificate of the client\'s own and its key come together: --tls-cert FILE --tls-key FILE', { where: address });
  // Node.js passes over what is none, and then trusts nobody.
  if ([ca, cert].some((each) => each !== undefined && !each.includes('-----BEGIN CERTIFICATE-----'))) throw new AlumnusError('USAGE', 'the TLS files cannot be used: one of them holds no certificate (PEM is expected)', { where: address });
  try {
    return credentials.createSsl(ca ?? null, key ?? null, cert ?? null);
  } catch (thrown) {
    throw new AlumnusError('USAGE', `the TLS files cannot be used: ${thrown instanceof Error ? thrown.message : String(thrown)}; PEM is expected, and a key that belongs to its certificate`, { where: address, cause: thrown });
  }
}
