/**
 * Who may do what. A caller has a role in each project: a viewer reads, an operator also steers. What belongs to no
 * project (workers, the bucket, reconciling) belongs to FLEET. Not for: how a token reaches us (coordinator/api).
 */

export type Role = 'viewer' | 'operator';

/** In place of a project: what all of them share. */
export const FLEET = '*';

/** The project of a run that was submitted without naming one. */
export const PROJECT_DEFAULT = 'default';

export interface Caller {
  /** As journalled with what they do; empty: nobody asked. */
  readonly name: string;
  /** Undefined: not even to read. @param project a project's name, or FLEET */
  roleIn(project: string): Role | undefined;
}

export interface Access {
  /** Undefined: the token is nobody's, or there must be one. */
  callerOf(token: string | undefined): Caller | undefined;
}

/** Nothing was said of who may do what: whoever reaches the coordinator operates it. */
export const openAccess: Access = { callerOf: () => ({ name: '', roleIn: () => 'operator' }) };
