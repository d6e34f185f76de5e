/**
 * What a command may touch of its surroundings: the two output streams, the environment, the wish to stop, and the exit
 * code it ends with. Everything of it can be replaced in a test.
 * Invariants: (1) data goes to `out`, everything else to `err`; (2) a reader that went away (EPIPE) ends output quietly.
 */
import { exitCode } from '../proto/errors.ts';

export interface Sink {
  write(text: string): void;
  /** Whether a person watches: redraws and colors only then. */
  readonly isTerminal: boolean;
  readonly color: boolean;
  /** Characters a line; a wide default where nobody says. */
  readonly columns: number;
}

/** Where nobody says how wide a line is, a table is written in one piece and left to the reader's tools. */
const COLUMNS_WITHOUT_TERMINAL = 200;

export class Context {
  readonly out: Sink;
  readonly err: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the process ends with; commands set it where they end without an error. */
  exitCode: number = exitCode.ok;
  /** Takes the notes while something is redrawn on stderr; without it they would be drawn over. */
  noteTo: ((line: string) => void) | undefined;
  readonly #controller = new AbortController();
  #holds = 0;

  constructor(out: Sink, err: Sink, env: Readonly<Record<string, string | undefined>>) {
    this.out = out;
    this.err = err;
    this.env = env;
  }

  /** Aborted when the user wants to stop. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  interrupt(): void {
    this.#controller.abort();
  }

  /** A command that has something to put in order before it ends holds the process until it lets go. */
  hold(): () => void {
    this.#holds += 1;
    let held = true;
    return () => {
      if (held) this.#holds -= 1;
      held = false;
    };
  }

  get held(): boolean {
    return this.#holds > 0;
  }

  print(line: string): void {
    this.out.write(`${line}\n`);
  }

  note(line: string): void {
    if (this.noteTo === undefined) this.err.write(`${line}\n`);
    else this.noteTo(line);
  }
}

/** A stream of the process as a sink. https://no-color.org: NO_COLOR, when present and not empty, switches color off. */
export function sinkOf(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): Sink {
  const isTerminal = stream.isTTY === true && env['TERM'] !== 'dumb';
  let open = true;
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    open = false;
  });
  return {
    write: (text) => {
      if (open) stream.write(text);
    },
    isTerminal,
    color: isTerminal && (env['NO_COLOR'] ?? '') === '',
    get columns() {
      // A terminal that nobody gave a size says 0.
      return stream.columns || COLUMNS_WITHOUT_TERMINAL;
    },
  };
}
