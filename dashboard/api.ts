/** Questions to the coordinator that served this page, and commands. The token lives as long as the tab. */
import type { ErrorAnswer } from '../proto/page.ts';

const TOKEN = 'alumnus-token';

export const token = {
  get: (): string => sessionStorage.getItem(TOKEN) ?? '',
  set: (value: string): void => (value === '' ? sessionStorage.removeItem(TOKEN) : sessionStorage.setItem(TOKEN, value)),
};

/** What the coordinator answers in place of what was asked for; code `UNREACHABLE` where it answers nothing. */
export class ApiError extends Error {
  readonly code: string;
  readonly where: string;
  readonly remedy: string;
  readonly leader: string | undefined;

  constructor({ code, message, where, remedy, leader }: Omit<ErrorAnswer, 'apiVersion' | 'kind'>) {
    super(message);
    this.code = code;
    this.where = where;
    this.remedy = remedy;
    this.leader = leader;
  }
}

const headers = (): Record<string, string> => (token.get() === '' ? {} : { authorization: `Bearer ${token.get()}` });

async function checked(asking: Promise<Response>): Promise<Response> {
  let response: Response;
  try {
    response = await asking;
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === 'AbortError') throw thrown;
    throw new ApiError({ code: 'UNREACHABLE', message: 'the coordinator does not answer', where: '', remedy: 'Look whether it runs.' });
  }
  if (response.ok) return response;
  const said = (await response.json().catch(() => undefined)) as ErrorAnswer | undefined;
  throw new ApiError(said?.kind === 'Error' ? said : { code: 'INTERNAL', message: `the coordinator answers with status ${response.status}`, where: '', remedy: '' });
}

const address = (path: string): string => new URL(`api/v1/${path}`, document.baseURI).href;

/** @throws ApiError */
export async function ask<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
  const response = await checked(fetch(address(path), { headers: headers(), ...(signal === undefined ? {} : { signal }) }));
  return (await response.json()) as Answer;
}

/** @throws ApiError */
export async function command<Answer>(path: string, body: object): Promise<Answer> {
  const response = await checked(fetch(address(path), { method: 'POST', headers: { ...headers(), 'content-type': 'application/json' }, body: JSON.stringify(body) }));
  return (await response.json()) as Answer;
}

/** Events of the stream until it ends. @throws ApiError; an AbortError */
export async function* events(path: string, signal: AbortSignal): AsyncGenerator<{ readonly name: string; readonly data: string }> {
  const response = await checked(fetch(address(path), { headers: headers(), signal }));
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, name = '', data = ''] = /^event: (.*)\ndata: (.*)$/s.exec(block) ?? [];
      if (name !== '') yield { name, data };
    }
  }
}

export const part = (text: string | number): string => encodeURIComponent(text);
