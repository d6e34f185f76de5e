/** Small things that stand everywhere: states, shares, errors, times. */
import type { ComponentChildren } from 'preact';
import type { ApiError } from '../api.ts';
import { useNow } from '../live.ts';
import { duration, instant, percent, shareOf, wilson, type Counted } from '../format.ts';

/** A word with a mark of its own form: color is never the only difference. */
const glyphs: Readonly<Record<string, string>> = {
  running: '▶', paused: '‖', cancelling: '◼', succeeded: '✓', failed: '✕', cancelled: '◼', busy: '▶', idle: '○', lost: '✕',
  leased: '▶', waiting: '○', retrying: '↻', done: '✓', quarantined: '✕', promoted: '✓', refused: '✕',
};

export const State = ({ state }: { readonly state: string }) => <span class={`state state-${state}`}><span aria-hidden="true">{glyphs[state] ?? '·'}</span> {state}</span>;

export const Bar = ({ share, label }: { readonly share: number; readonly label: string }) => (
  <span class="bar" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(100 * share)}><span style={{ width: `${100 * Math.max(0, Math.min(1, share))}%` }} /></span>
);

export const Accuracy = ({ score }: { readonly score: Counted | undefined }) => {
  const share = shareOf(score);
  if (share === undefined || score === undefined) return <span class="muted">–</span>;
  const { low, high } = wilson(score);
  return <span class="figure" title={`${score.correct} of ${score.total}; 95 % interval ${percent(low)} to ${percent(high)}`}>{percent(share, 2)}</span>;
};

export const Ago = ({ ms }: { readonly ms: number }) => {
  const now = useNow();
  return <time dateTime={new Date(ms).toISOString()} title={instant(ms)}>{duration(Math.max(0, now - ms))}</time>;
};

export const Problem = ({ error }: { readonly error: Pick<ApiError, 'code' | 'message' | 'remedy'> & { readonly where?: string } }) => (
  <p class="problem" role="alert"><strong>{error.where ? `${error.where}: ` : ''}{error.message}.</strong> {error.remedy} <code>{error.code}</code></p>
);

export const Panel = ({ title, more, children, className = '' }: { readonly title: ComponentChildren; readonly more?: ComponentChildren; readonly children: ComponentChildren; readonly className?: string }) => (
  <section class={`panel ${className}`}>
    <header><h2>{title}</h2>{more !== undefined && <div class="more">{more}</div>}</header>
    {children}
  </section>
);

export const Fact = ({ name, children }: { readonly name: string; readonly children: ComponentChildren }) => <div class="fact"><dt>{name}</dt><dd>{children}</dd></div>;
