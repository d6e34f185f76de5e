/**
 * A program of its own: tells what a recipe would come to. `run plan` of the command line starts it, since the command line decides nothing about runs.
 * Usage: node plan-main.js --store URL, a PlanRequest as JSON on stdin. Writes one line of JSON, `{"plan":…}`. Ends with the error table's code and a
 * sentence of it on stderr.
 */
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { answer, tell } from '../proto/program.ts';
import { openStore } from '../store/index.ts';
import { planOf, type PlanRequest } from './plan.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { store: { type: 'string', default: '' } } });
  const request = JSON.parse(await text(process.stdin)) as PlanRequest;
  tell({ plan: await planOf(await openStore(values.store, { create: false }), request) });
}

answer(main);
