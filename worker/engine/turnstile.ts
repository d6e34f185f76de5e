/** Lets one through at a time, in the order of arrival; a failure inside lets the next one in. */
export class Turnstile {
  #last: Promise<unknown> = Promise.resolve();
  #inside = '';

  /** Who is inside, as they call themselves; who was last where nobody is. */
  get inside(): string {
    return this.#inside;
  }

  pass<Result>(work: () => Promise<Result>, who = ''): Promise<Result> {
    const enter = (): Promise<Result> => {
      this.#inside = who;
      return work();
    };
    const mine = this.#last.then(enter, enter);
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}
