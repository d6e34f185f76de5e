/**
 * audit: what the pseudo-labels were worth, measured against true labels that no teacher or student sees. It reports and nothing else:
 * no fact that a run decides on is read from here. It also picks the pictures of the report's gallery.
 */
import { confidenceOf, decodedShard, readLabelTable, readSelection, readSelectionPart } from '../data/index.ts';
import { encodePng, readLabels } from '../../dataset/index.ts';
import { invariant } from '../../proto/errors.ts';
import type { AuditResult, AuditSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, sha256 } from '../../store/index.ts';
import { putJson, required, shapeOf, type TaskContext } from './context.ts';

interface Candidate {
  readonly key: string;
  readonly shard: string;
  readonly row: number;
  readonly label: number;
  readonly confidence: number;
  readonly truth: number;
  readonly copies: number;
  /** Fair choice among many: the smallest hashes stay. */
  readonly hash: string;
}

export async function audit(context: TaskContext, spec: AuditSpec): Promise<AuditResult> {
  const { store, task, cacheFolder, signal } = context;
  const shape = shapeOf(spec.image);
  const selectionRef = required(spec.selection, 'selection');
  const truthTable = await readLabels(store, required(spec.truth, 'truth'));
  const truthOf = new Map(truthTable.keys.map((key, row) => [key, truthTable.classes[row] ?? -1]));
  const document = await readSelection(store, selectionRef);
  const tables = new Map(spec.pseudoLabels.map((each) => [each.shard, each.labels]));
  const classes = spec.classNames.map((_, at) => ({ class: at, kept: 0, right: 0, labeled: 0, labeledRight: 0 }));
  const gallery: Record<'right' | 'wrong' | 'thrownOut', Candidate[]> = { right: [], wrong: [], thrownOut: [] };
  for (const [at, part] of document.parts.entries()) {
    signal.throwIfAborted();
    const table = required(tables.get(part.shard), `labels of ${part.shard}`);
    const [labels, copies] = await Promise.all([store.get(table).then((bytes) => readLabelTable(bytes, table.key)), readSelectionPart(store, selectionRef, part)]);
    labels.keys.forEach((key, row) => {
      const [label, truth, times] = [labels.classes[row] ?? 0, truthOf.get(key), copies.get(key) ?? 0];
      const count = classes[label];
      invariant(count !== undefined, `label ${label} is one of the run's classes`);
      // A set may be part class folders, part without labels: what is not known is not counted.
      if (truth === undefined) return;
      count.labeled += 1;
      if (label === truth) count.labeledRight += 1;
      if (times > 0) {
        count.kept += 1;
        if (label === truth) count.right += 1;
      }
      const kind = times === 0 ? 'thrownOut' : label === truth ? 'right' : 'wrong';
      const confidence = confidenceOf(labels.logOdds[row] ?? 0);
      keepSmallest(gallery[kind], { key, shard: part.shard, row, label, confidence, truth, copies: times, hash: sha256(`${task.seed}/${key}`) }, spec.galleryPerKind);
    });
    context.progress({ done: at + 1, total: document.parts.length, unit: 'shards', rate: 0, loss: 0 });
  }
  const shards = new Map(required(spec.unlabeled, 'unlabeled').shards.map((shard) => [shard.name, shard]));
  const pictures: Record<string, unknown[]> = {};
  const size = shape.height * shape.width * shape.channels;
  for (const [kind, candidates] of Object.entries(gallery)) {
    pictures[kind] = [];
    for (const { hash: _hash, shard, row: _row, ...item } of candidates) {
      const decoded = await decodedShard({ store, shape, cacheFolder, signal }, required(shards.get(shard), `shard ${shard}`));
      const at = decoded.keys.indexOf(item.key);
      pictures[kind].push({ ...item, png: Buffer.from(encodePng(decoded.images.subarray(at * size, (at + 1) * size), shape)).toString('base64') });
    }
  }
  const ref = await putJson(context, canonicalJson({ schemaVersion: 1, classNames: spec.classNames, perClass: classes, gallery: pictures }));
  const sum = (of: (each: (typeof classes)[number]) => number): number => classes.reduce((total, each) => total + of(each), 0);
  return {
    audit: ref, keptRight: sum((each) => each.right), kept: sum((each) => each.kept), labeledRight: sum((each) => each.labeledRight), labeled: sum((each) => each.labeled),
    classes: classes.map((each) => ({ class: each.class, correct: each.right, total: each.kept })),
  };
}

function keepSmallest(kept: Candidate[], candidate: Candidate, most: number): void {
  const last = kept.at(-1);
  if (kept.length >= most && last !== undefined && candidate.hash >= last.hash) return;
  kept.push(candidate);
  kept.sort((a, b) => (a.hash < b.hash ? -1 : 1));
  if (kept.length > most) kept.pop();
}
