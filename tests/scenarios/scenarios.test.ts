/** Runs every scenario of this folder (*.txt) and compares its whole trace. UPDATE_SCENARIOS=1 writes the traces anew: read the difference before committing it. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseScenario, printScenario, Scenario, type Block } from './scenario.ts';

const folder = import.meta.dirname;

describe('the run, by scenario', () => {
  test.each(readdirSync(folder).filter((name) => name.endsWith('.txt')).sort())('%s', (name) => {
    const path = join(folder, name);
    const scenario = new Scenario();
    const played: Block[] = parseScenario(readFileSync(path, 'utf8')).map((block) => ({ ...block, expected: block.commands.length === 0 ? [] : [...block.commands.flatMap((command) => scenario.play(command)), ...scenario.standing()] }));
    if (process.env.UPDATE_SCENARIOS === '1') writeFileSync(path, printScenario(played));
    expect(printScenario(played)).toBe(readFileSync(path, 'utf8'));
  });

  test('a wrong trace is seen', () => {
    const scenario = new Scenario();
    const [block] = parseScenario('submit rounds=0\n----\n= succeeded\n');
    expect(scenario.play(block?.commands[0] ?? '')).not.toEqual(block?.expected);
  });
});
