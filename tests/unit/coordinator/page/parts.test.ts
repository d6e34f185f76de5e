/** What keeps the page cheap and bounded: answers that are made once, documents told as changes, curves that do not grow. */
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, expect, test, vi } from 'vitest';
import { Curves } from '../../../../coordinator/page/curves.ts';
import { Answers } from '../../../../coordinator/page/encoded.ts';
import { Channel, type Fields } from '../../../../coordinator/page/hub.ts';
import { BEAT_MS, Stream } from '../../../../coordinator/page/stream.ts';
import { type AlumnusError } from '../../../../proto/errors.ts';
import { Scene } from '../scene.ts';
import { makeData, makeRecipe } from '../work.ts';

afterEach(() => void vi.useRealTimers());

test('an answer is made once while nothing changes, and a dear one for ten times as long as it took', () => {
  let nowMs = 0;
  let costMs = 0;
  let made = 0;
  const answers = new Answers(() => nowMs);
  const ask = (version: number): string => answers.get('runs', version, () => {
    nowMs += costMs;
    return { made: made += 1 };
  }).body.toString();
  expect(ask(1)).toBe('{"made":1}');
  nowMs += 500;
  expect(ask(1)).toBe('{"made":1}');
  // Something changed, and it costs nothing to look.
  expect(ask(2)).toBe('{"made":2}');
  // What changes by itself is a second old at most.
  nowMs += 1_001;
  expect(ask(2)).toBe('{"made":3}');
  costMs = 40;
  expect(ask(3)).toBe('{"made":4}');
  nowMs += 399;
  expect(ask(4)).toBe('{"made":4}');
  nowMs += 1;
  expect(ask(5)).toBe('{"made":5}');
  answers.forget();
  expect(ask(5)).toBe('{"made":6}');
});

test('answers that are kept are bounded', () => {
  const answers = new Answers(() => 0);
  let made = 0;
  const ask = (at: number): void => void answers.get(`question ${at}`, 0, () => ({ made: made += 1 }));
  for (let at = 0; at < 400; at += 1) ask(at);
  ask(399);
  expect(made).toBe(400);
  ask(0);
  expect(made).toBe(401);
});

const channelOf = (read: () => Record<string, string>): Channel => new Channel({ name: 'shards', about: '', read: (): Fields => new Map(Object.entries(read())) });

test('a document is told as what changed to who is one version behind, and whole to all others', () => {
  let fields: Record<string, string> = { a: '1', b: '2' };
  const channel = channelOf(() => fields);
  expect(channel.refresh(0)).toBe(true);
  expect(channel.textFrom(0)).toBe('event: shards\ndata: {"whole":true,"set":{"a":1,"b":2},"gone":[]}\n\n');
  expect(channel.refresh(0)).toBe(false);
  fields = { a: '1', c: '3' };
  channel.refresh(1);
  expect(channel.textFrom(1)).toBe('event: shards\ndata: {"set":{"c":3},"gone":["b"]}\n\n');
  fields = { a: '4', c: '3' };
  channel.refresh(2);
  expect(channel.textFrom(1)).toBe('event: shards\ndata: {"whole":true,"set":{"a":4,"c":3},"gone":[]}\n\n');
  expect(channel.textFrom(3)).toBe('');
});

class Response extends EventEmitter {
  readonly written: string[] = [];
  takes = true;
  destroyed = false;
  write(text: string): boolean {
    this.written.push(text);
    return this.takes;
  }

  end(text: string): void {
    this.written.push(text);
    this.emit('close');
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

function streamTo(response: Response, onEnd = (): void => undefined): Stream {
  return new Stream({ response: response as unknown as ServerResponse, check: () => undefined, errorJson: (error: AlumnusError) => JSON.stringify(error.code), onEnd });
}

test('a reader that takes nothing is sent nothing more, and then the newest; one that never does is cut off', () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'Date'] });
  let value = 0;
  const channel = channelOf(() => ({ a: String(value) }));
  channel.refresh(0);
  const response = new Response();
  let ended = 0;
  const stream = streamTo(response, () => (ended += 1));
  stream.follow(channel);
  stream.flush();
  response.takes = false;
  const change = (): void => {
    value += 1;
    channel.refresh(value);
    stream.flush();
  };
  change();
  expect(response.written).toHaveLength(2);
  for (let times = 0; times < 1_000; times += 1) change();
  vi.advanceTimersByTime(2 * BEAT_MS);
  expect(response.written).toHaveLength(2);
  response.takes = true;
  response.emit('drain');
  expect(response.written).toHaveLength(3);
  expect(response.written.at(-1)).toContain(`{"whole":true,"set":{"a":${value}}`);
  response.takes = false;
  change();
  vi.advanceTimersByTime(70_000);
  expect([response.destroyed, ended]).toEqual([true, 1]);
});

test('the curve of a training is spread evenly however long it is, and begins again where an attempt does', async () => {
  const scene = new Scene();
  const leader = await scene.lead(60_000);
  await leader.command('r', { kind: 'submit', runId: 'r', recipe: makeRecipe({ control: false }), data: makeData() });
  scene.register(leader, 1, 'w1');
  const [lease] = leader.grant('w1', 1, []);
  const curves = new Curves();
  const tell = (done: number, loss: number): void => {
    leader.scheduler.renew('w1', [{ leaseId: lease?.leaseId, taskId: lease?.task?.taskId ?? '', progress: { done, total: 5_000, unit: 'steps', rate: 1, loss }, checkpoint: undefined }], scene.nowMs);
    curves.look(leader);
  };
  expect(curves.of('r')).toEqual([]);
  for (let step = 1; step <= 2_000; step += 1) tell(step, 2_000 / step);
  const [curve] = curves.of('r');
  expect(curve).toMatchObject({ iteration: 0, training: 'student', replica: -1 });
  expect(curve?.steps.length).toBeLessThanOrEqual(240);
  expect(curve?.steps.length).toBeGreaterThan(100);
  expect(curve?.steps.at(-1)).toBe(2_000);
  curve?.steps.forEach((step, at) => expect(curve.losses[at]).toBe(2_000 / step));
  // It goes on from a checkpoint.
  tell(1_000, 5);
  expect(curves.of('r')[0]?.steps.at(-1)).toBe(1_000);
  expect(curves.of('r')[0]?.losses.at(-1)).toBe(5);
  await leader.command('r', { kind: 'kill', reason: 'enough' });
  curves.look(leader);
  expect(curves.of('r')).toEqual([]);
});
