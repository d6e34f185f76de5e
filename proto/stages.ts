/** The stages' names, as recipes, task ids, stored objects and people read them: the one table. Not for: their order, which is the run's to decide. */
import { Stage } from './gen/alumnus/v1/task.ts';

const names: Readonly<Record<Stage, string>> = {
  [Stage.UNSPECIFIED]: '', [Stage.LABEL]: 'label', [Stage.SELECT]: 'select', [Stage.TRAIN]: 'train', [Stage.EVALUATE]: 'evaluate', [Stage.PROMOTE]: 'promote', [Stage.UNRECOGNIZED]: '',
};

/** Empty before the first stage, and for one of a newer release. */
export const stageName = (stage: Stage): string => names[stage] ?? '';
