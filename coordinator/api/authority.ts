/** A call's caller held against what it asks for: by the token in its metadata. Health and reflection ask nobody. */
import type { Metadata } from '@grpc/grpc-js';
import { AlumnusError } from '../../proto/errors.ts';
import { FLEET, PROJECT_DEFAULT, type Access, type Caller } from '../access.ts';

/** RFC 6750. */
export const bearerOf = (header: string | undefined): string | undefined => /^Bearer (.+)$/i.exec(header ?? '')?.[1];

export class Authority {
  readonly #access: Access;

  constructor(access: Access) {
    this.#access = access;
  }

  /** @throws AlumnusError ACCESS_UNAUTHENTICATED */
  callerOf(metadata: Metadata | undefined): Caller {
    const [header] = metadata?.get('authorization') ?? [];
    const token = bearerOf(header?.toString());
    const caller = this.#access.callerOf(token);
    if (caller === undefined || !caller.isAnyone) throw new AlumnusError('ACCESS_UNAUTHENTICATED', token === undefined ? 'the call carries no token' : 'the token is nobody\'s here');
    return caller;
  }

  /** @param project FLEET for what belongs to none @throws AlumnusError ACCESS_UNAUTHENTICATED, ACCESS_REFUSED */
  reader(metadata: Metadata | undefined, project: string): Caller {
    return this.#must(metadata, project, 'viewer');
  }

  operator(metadata: Metadata | undefined, project: string): Caller {
    return this.#must(metadata, project, 'operator');
  }

  worker(metadata: Metadata | undefined): Caller {
    return this.#must(metadata, FLEET, 'worker');
  }

  #must(metadata: Metadata | undefined, project: string, wanted: 'viewer' | 'operator' | 'worker'): Caller {
    const caller = this.callerOf(metadata);
    const role = caller.roleIn(project === '' ? PROJECT_DEFAULT : project);
    if (role === wanted || role === 'operator' || (wanted === 'viewer' && role === 'worker')) return caller;
    const who = caller.name === '' ? 'who has no token' : caller.name;
    throw new AlumnusError('ACCESS_REFUSED', `${who} is ${role === undefined ? 'nobody' : `a ${role}`} in ${project === FLEET ? 'the fleet' : `project ${project}`}, and this takes a${wanted === 'operator' ? 'n' : ''} ${wanted}`);
  }
}
