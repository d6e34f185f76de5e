/** A dataset in words. */
import type { DatasetSummary } from '../dataset/index.ts';
import { bytes, integer, none } from './format.ts';
import { facts, table } from './output.ts';

/** Longer class lists are cut. */
const CLASSES_SHOWN_MAX = 20;

export function describeDataset({ name, digest, version, classes, image, parts, split, corruption }: DatasetSummary): string {
  const shown = classes.slice(0, CLASSES_SHOWN_MAX).join(', ');
  return [
    facts([
      ['Dataset', name],
      ['Version', version === 1 ? '' : String(version)],
      ['Manifest', `sha256 ${digest}`],
      ['Images', `${image.height} × ${image.width} × ${image.channels}`],
      ['Classes', `${integer(classes.length)}: ${shown}${classes.length > CLASSES_SHOWN_MAX ? ', …' : ''}`],
      ['Read where they lie', parts.flatMap(({ part, registered = [] }) => registered.map(({ location, shards }) => `${integer(shards)} ${part} shards at ${location}`)).join('; ')],
      ['Source', split?.source ?? ''],
      ['Corrupted', corruption === undefined ? '' : `${corruption.name} of ${corruption.of.name}, manifest sha256 ${corruption.of.sha256}`],
      ['Seed', String((split ?? corruption)?.seed ?? '')],
      ['Left out', split === undefined ? '' : `${integer(split.dropped.duplicates)} exact copies within a part, ${integer(split.dropped.straddling)} copies of held-out images`],
    ]),
    table(['part', 'images', 'shards', 'size', 'each class', 'labels'], parts.map((part) => {
      const counts = part.classCounts ?? [];
      const [least, most] = [Math.min(...counts), Math.max(...counts)];
      return [
        part.part, integer(part.samples), integer(part.shards), bytes(part.bytes),
        counts.length === 0 ? none : least === most ? integer(least) : `${integer(least)} to ${integer(most)}`,
        part.classCounts !== undefined ? 'known' : part.truth ? 'hidden, for reports' : 'none',
      ];
    }), [1, 2, 3]),
  ].join('\n\n');
}
