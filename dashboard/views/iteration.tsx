/** One iteration: its models and the gate, then its labels: by confidence and class with the threshold, before and after selection, and as pictures. */
import { useState } from 'preact/hooks';
import type { GalleryAnswer, HistogramAnswer, LabelSample, ShardsAnswer } from '../../proto/page.ts';
import { part } from '../api.ts';
import { confidence, duration, integer, none, percent, plural } from '../format.ts';
import { useAnswer } from '../live.ts';
import { useMedia } from '../parts/media.ts';
import { ConfidenceChart, sightOf, Strip } from '../parts/charts.tsx';
import { Accuracy, Fact, Panel, Problem, State } from '../parts/marks.tsx';
import { Search } from '../parts/search.tsx';
import { ShardLegend, ShardMap, type Cells } from '../parts/shard-map.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { to } from '../route.ts';
import { teacherOf, titleOf } from './run-rounds.tsx';
import { useRun, type Run } from './run-document.ts';
import { RunHead } from './run-head.tsx';

type Iteration = Run['iterations'][number];

export function IterationView({ run, iteration }: { readonly run: string; readonly iteration: number }) {
  const view = useRun();
  if (view?.summary === undefined) return <p class="empty">Asking…</p>;
  const tries = view.iterations.filter((each) => each.iteration === iteration);
  const each = tries.at(-1);
  return (
    <>
      <RunHead view={view} under={`iteration ${iteration}`} />
      <nav class="tabs" aria-label="Iterations">{[...new Set(view.iterations.map((known) => known.iteration))].map((known) => <a key={known} href={to.iteration(run, known)} aria-current={known === iteration ? 'page' : undefined}>{known}</a>)}</nav>
      {each === undefined ? <p class="empty">The run has no iteration {iteration} yet.</p> : (
        <>
          {tries.map((known) => <Models key={titleOf(known)} view={view} each={known} />)}
          {each.iteration > 0 && <Labels view={view} each={each} />}
        </>
      )}
    </>
  );
}

function Models({ view, each }: { readonly view: Run; readonly each: Iteration }) {
  const teacher = teacherOf(view, each);
  const models = [['teacher', teacher], [each.iteration === 0 ? 'first teacher' : 'student', each.model], ['fine-tuned', each.fineTuned]] as const;
  return (
    <Panel title={`Models of iteration ${titleOf(each)}`} more={each.decision === '' ? undefined : <State state={each.decision} />}>
      <div class="scroll"><table>
        <thead><tr><th scope="col">model</th><th scope="col">architecture</th><th scope="col" class="right">parameters</th><th scope="col" class="right">validation</th><th scope="col" class="right">test</th><th scope="col" class="right">steps</th><th scope="col" class="right">last loss</th><th scope="col" class="right">device time</th></tr></thead>
        <tbody>{models.map(([name, model]) => model !== undefined && model.model !== undefined && (
          <tr key={name}><th scope="row">{name}</th><td>{model.label}</td><td class="right figure">{model.parameters > 0 ? integer(model.parameters) : none}</td><td class="right"><Accuracy score={model.validation} /></td><td class="right"><Accuracy score={model.test} /></td><td class="right figure">{integer(model.steps)}</td><td class="right figure">{model.finalLoss > 0 ? model.finalLoss.toFixed(3) : none}</td><td class="right figure">{duration(model.trainMs)}</td></tr>
        ))}</tbody>
      </table></div>
      {each.gate !== undefined && <p>The gate: of {integer(each.gate.samples)} validation images {integer(each.gate.studentOnlyRight)} only the student got right, {integer(each.gate.teacherOnlyRight)} only its teacher; p = {each.gate.pValue.toPrecision(2)}; {each.gate.reason}.</p>}
      {each.gate !== undefined && each.gate.warning !== '' && <p class="problem warn">{each.gate.warning}</p>}
    </Panel>
  );
}

function Labels({ view, each }: { readonly view: Run; readonly each: Iteration }) {
  const run = view.summary.runId;
  const { selection, audit, threshold } = each;
  const isCurrent = each.iteration === view.summary.iteration;
  // While labels come in they are asked for again now and then.
  const again = `${selection?.selection?.sha256 ?? ''}${isCurrent && selection === undefined ? Math.floor(view.stageDone / 10) : ''}`;
  const histogram = useAnswer<HistogramAnswer>(`runs/${part(run)}/iterations/${each.iteration}/histogram`, again);
  return (
    <>
      {selection !== undefined && <Panel title="Selection">
        <dl class="figures">
          <Fact name="labeled">{integer(selection.labeled)}</Fact>
          <Fact name="kept">{integer(selection.kept)} <span class="muted">{percent(selection.labeled > 0 ? selection.kept / selection.labeled : 0)}</span></Fact>
          <Fact name="rows, with copies">{integer(selection.rows)}</Fact>
          {threshold !== undefined && <Fact name="threshold">{confidence(threshold.confidence)}</Fact>}
          {audit !== undefined && audit.kept > 0 && <Fact name="precision of those kept"><span title={`${audit.keptRight} of ${audit.kept}: against true labels that no teacher or student sees`}>{percent(audit.keptRight / audit.kept, 2)}</span></Fact>}
          {audit !== undefined && audit.labeled > 0 && <Fact name="of all labels">{percent(audit.labeledRight / audit.labeled, 2)}</Fact>}
          {each.quarantined > 0 && <Fact name="shards given up">{integer(each.quarantined)}</Fact>}
        </dl>
      </Panel>}
      {histogram.error !== undefined ? <Problem error={histogram.error} /> : histogram.answer === undefined ? <Panel title="Pseudo-labels by confidence"><p class="empty">Reading tallies…</p></Panel> : <Spread view={view} each={each} histogram={histogram.answer} />}
      {selection !== undefined && <Gallery run={run} each={each} />}
      {!isCurrent && <PastShards run={run} iteration={each.iteration} />}
    </>
  );
}

function Spread({ view, each, histogram }: { readonly view: Run; readonly each: Iteration; readonly histogram: HistogramAnswer }) {
  const [search, setSearch] = useState('');
  const isNarrow = useMedia('(max-width: 719px)');
  const names = view.data?.classNames ?? [];
  const bins = histogram.classes.reduce<number[]>((sum, own) => own.map((count, at) => count + (sum[at] ?? 0)), []);
  const sight = sightOf(bins);
  const chosen = new Map(each.selection?.classes.map((known) => [known.class, known]));
  const most = Math.max(1, ...(each.selection?.classes.flatMap(({ labeled, rows }) => [labeled, rows]) ?? []), ...histogram.classes.map((own) => own.reduce((sum, count) => sum + count, 0)));
  const shown = histogram.classes.map((_, at) => at).filter((at) => search === '' || (names[at] ?? '').toLowerCase().includes(search.toLowerCase()));
  const part_ = histogram.shards < histogram.shardsLabeled ? ` Of ${integer(histogram.shards)} of ${plural(histogram.shardsLabeled, 'shard')}.` : '';
  return (
    <>
      <Panel title="Pseudo-labels by confidence">
        <ul class="legend"><li><i class="swatch swatch-kept" /> at or above the threshold: to be selected from</li><li><i class="swatch swatch-dropped" /> below it: thrown out</li></ul>
        <ConfidenceChart bins={bins} binned={histogram} threshold={each.threshold?.confidence} />
        <p class="muted">The axis is of log-odds: equal steps tell confidences near 0 and 1 apart.{part_}</p>
      </Panel>
      <Panel title="By class: confidence, and balance before and after" more={names.length > 12 ? <Search label="Search classes" value={search} onChange={setSearch} /> : undefined}>
        <VirtualList key={String(isNarrow)} label="Classes" count={shown.length} rowHeight={isNarrow ? 88 : 46} className="classes" heightMax="480px" head={isNarrow ? undefined : <><span>class</span><span>confidence, with the threshold</span><span>labeled, then rows after selection</span><span class="right">labeled</span><span class="right">eligible</span><span class="right">kept</span><span class="right">rows</span></>}
          row={(index) => {
            const at = shown[index] ?? 0;
            const own = histogram.classes[at] ?? [];
            const known = chosen.get(at);
            const labeled = known?.labeled ?? own.reduce((sum, count) => sum + count, 0);
            return (
              <>
                <span class="class-name" title={names[at]}>{names[at] ?? at}</span>
                <span class="class-strip"><Strip bins={own} sight={sight} binned={histogram} threshold={each.threshold?.confidence} /></span>
                <span class="class-balance" aria-hidden="true"><i class="before" style={{ width: `${(100 * labeled) / most}%` }} />{known !== undefined && <i class="after" style={{ width: `${(100 * known.rows) / most}%` }} />}</span>
                <span class="right figure" data-label="labeled">{integer(labeled)}</span>
                <span class="right figure" data-label="eligible">{known === undefined ? none : integer(known.eligible)}</span>
                <span class="right figure" data-label="kept">{known === undefined ? none : integer(known.kept)}</span>
                <span class="right figure" data-label="rows">{known === undefined ? none : integer(known.rows)}</span>
              </>
            );
          }} />
      </Panel>
    </>
  );
}

function Gallery({ run, each }: { readonly run: string; readonly each: Iteration }) {
  const { answer, error } = useAnswer<GalleryAnswer>(`runs/${part(run)}/iterations/${each.iteration}/gallery`, each.selection?.selection?.sha256);
  if (error !== undefined) return <Problem error={error} />;
  if (answer === undefined) return <Panel title="Pseudo-labeled images"><p class="empty">Reading shards…</p></Panel>;
  const rows = [['most confident', answer.confident], ['nearest the threshold', answer.near], ['thrown out', answer.thrownOut]] as const;
  return (
    <Panel title="Pseudo-labeled images" more={answer.shards < answer.shardsLabeled ? <span class="muted">from {integer(answer.shards)} of {plural(answer.shardsLabeled, 'shard')}</span> : undefined}>
      {rows.map(([name, samples]) => samples.length > 0 && <div key={name}><h3>{name}</h3><ul class="gallery">{samples.map((sample) => <Sample key={sample.key} sample={sample} />)}</ul></div>)}
      <p class="muted">Below each its label, confidence and copies; a true class is told where it is known, and no teacher or student sees it.</p>
    </Panel>
  );
}

function Sample({ sample: { key, shard, label, confidence: sure, copies, truth, png } }: { readonly sample: LabelSample }) {
  const isWrong = truth !== undefined && truth.class !== label.class;
  return (
    <li class={isWrong ? 'wrong' : ''}>
      <img src={`data:image/png;base64,${png}`} alt={`labeled ${label.name}`} title={`${key}, ${shard}`} width="72" height="72" />
      <span><b>{label.name}</b>{truth !== undefined && (isWrong ? <em class="bad"> is {truth.name}</em> : <em class="good"> ✓</em>)}</span>
      <span class="muted figure">{confidence(sure)}{copies > 1 && ` × ${copies}`}</span>
    </li>
  );
}

function PastShards({ run, iteration }: { readonly run: string; readonly iteration: number }) {
  const { answer } = useAnswer<ShardsAnswer>(`runs/${part(run)}/shards?iteration=${iteration}`);
  if (answer === undefined) return null;
  const cells: Cells = Object.entries(answer.cells);
  return cells.length === 0 ? null : <Panel title="Shards"><ShardLegend cells={cells} /><ShardMap cells={cells} onOpen={() => undefined} /></Panel>;
}
