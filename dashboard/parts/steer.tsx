/** What an operator may ask of a run, each after a question. Which, the coordinator says. */
import { useState } from 'preact/hooks';
import type { RunAnswer, SummaryAnswer } from '../../proto/page.ts';
import { ApiError, command, part } from '../api.ts';
import { useCommands } from '../live.ts';
import { Dialog } from './dialog.tsx';
import { Problem } from './marks.tsx';

interface Question {
  readonly verb: string;
  readonly consequence: string;
  readonly asksWhy: boolean;
  readonly danger?: true;
  /** It is about one iteration's model. */
  readonly which?: true;
}

const questions: Readonly<Record<string, Question>> = {
  pause: { verb: 'Pause', consequence: 'What is under way is finished; nothing new is begun until somebody resumes it.', asksWhy: true },
  resume: { verb: 'Resume', consequence: 'Open tasks are granted again, and what failed is tried anew.', asksWhy: false },
  retry: { verb: 'Retry', consequence: 'What failed or was given up is tried again, and nothing else.', asksWhy: false },
  promote: { verb: 'Promote', consequence: 'This model is taken whatever the gate said: it teaches the iterations that follow, or is what a run that succeeded returns.', asksWhy: true, which: true },
  rollback: { verb: 'Roll back', consequence: 'That iteration\'s model is the teacher again, and what came after it is made anew.', asksWhy: true, which: true, danger: true },
  cancel: { verb: 'Cancel', consequence: 'What is under way is finished or handed back; then the run ends. What is done stays in the object store.', asksWhy: true, danger: true },
  kill: { verb: 'Kill', consequence: 'The run ends now, and what is under way is dropped. What is done stays in the object store.', asksWhy: true, danger: true },
};

export function Steer({ summary }: { readonly summary: SummaryAnswer }) {
  const commands = useCommands(summary).filter((each) => Object.hasOwn(questions, each));
  const [asked, setAsked] = useState<string | undefined>();
  const question = asked === undefined ? undefined : questions[asked];
  if (commands.length === 0 && question === undefined) return null;
  return (
    <div class="steer">
      {commands.map((each) => <button type="button" key={each} class={questions[each]?.danger === true ? 'danger' : ''} onClick={() => setAsked(each)}>{questions[each]?.verb}</button>)}
      {asked !== undefined && question !== undefined && <Confirm run={summary.runId} asked={asked} question={question} last={summary.iteration} onClose={() => setAsked(undefined)} />}
    </div>
  );
}

function Confirm({ run, asked, question, last, onClose }: { readonly run: string; readonly asked: string; readonly question: Question; readonly last: number; onClose(): void }) {
  const [iteration, setIteration] = useState(Math.max(0, asked === 'rollback' ? last - 1 : last));
  const [reason, setReason] = useState('');
  const [error, setError] = useState<ApiError | undefined>();
  const [waits, setWaits] = useState(false);
  const say = async (): Promise<void> => {
    setWaits(true);
    try {
      await command<RunAnswer>(`runs/${part(run)}/${asked}`, { reason, ...(question.which === true ? { iteration } : {}) });
      onClose();
    } catch (thrown) {
      setError(thrown instanceof ApiError ? thrown : new ApiError({ code: 'INTERNAL', message: String(thrown), where: '', remedy: '' }));
      setWaits(false);
    }
  };
  return (
    <Dialog title={`${question.verb} ${run}?`} onClose={onClose}>
      <form onSubmit={(event) => {
        event.preventDefault();
        void say();
      }}>
        <p>{question.consequence}</p>
        {question.which === true && <label>Iteration <input type="number" min={0} max={last} value={iteration} onInput={(event) => setIteration(Number(event.currentTarget.value))} /></label>}
        {question.asksWhy && <label>Why (others will read it) <input value={reason} maxLength={1000} onInput={(event) => setReason(event.currentTarget.value)} /></label>}
        {error !== undefined && <Problem error={error} />}
        <div class="answers">
          <button type="button" onClick={onClose}>No, leave it</button>
          <button type="submit" class={question.danger === true ? 'danger' : 'primary'} disabled={waits}>{question.verb} the run</button>
        </div>
      </form>
    </Dialog>
  );
}
