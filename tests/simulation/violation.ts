/** What breaks an invariant of checker.ts, told in one sentence. */
export class Violation extends Error {}

export function must(condition: boolean, statement: string): void {
  if (!condition) throw new Violation(statement);
}
