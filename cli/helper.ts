/**
 * A program of the coordinator's or the worker's, asked once (proto/ask.ts). For what the command line needs and never does itself: folding facts,
 * reading label tables, TensorFlow. Not for: processes that stay (processes.ts).
 */
import { askProgram, type ProgramQuestion } from '../proto/ask.ts';
import { programPath, type ProgramName } from './processes.ts';

export interface Question extends Pick<ProgramQuestion, 'arguments' | 'request' | 'signal' | 'onLine'> {
  readonly program: ProgramName;
  /** Its file, without an ending. */
  readonly file: string;
}

/** Resolves when it has ended well. @throws AlumnusError CANCELLED; whatever the program says */
export async function ask({ program, file, ...question }: Question): Promise<void> {
  await askProgram({ ...question, path: programPath(program, file), title: `${program}/${file}` });
}
