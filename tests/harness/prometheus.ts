/** A real Prometheus on loopback that scrapes what a test has, asked over its HTTP API. Not for: what is asked. */
import { spawnSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../../deploy/setup/platform.mjs';
import { serverPath } from '../../deploy/setup/servers.mjs';
import { answersOk, freePort, Server } from './servers.ts';

/** Of what a run of seconds does, every second is looked at several times. */
const SCRAPE_MS = 250;

export interface Job {
  readonly name: string;
  readonly targets: readonly string[];
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export class Prometheus {
  readonly #address: string;
  readonly #server: Server;

  private constructor(address: string, server: Server) {
    this.#address = address;
    this.#server = server;
  }

  /** @param rules files of rules */
  static async start(folder: string, jobs: readonly Job[], rules: readonly string[]): Promise<Prometheus> {
    await mkdir(folder, { recursive: true });
    const address = `127.0.0.1:${await freePort()}`;
    // JSON is YAML.
    const config = {
      global: { scrape_interval: `${SCRAPE_MS}ms`, scrape_timeout: `${SCRAPE_MS}ms`, evaluation_interval: '1s' }, rule_files: rules,
      scrape_configs: jobs.map(({ name, targets }) => ({ job_name: name, static_configs: [{ targets }] })),
    };
    await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const server = await Server.start({
      name: 'prometheus', program: 'prometheus', logFile: join(folder, 'log'), isReady: () => answersOk(`http://${address}/-/ready`),
      args: [`--config.file=${join(folder, 'prometheus.yml')}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=${address}`],
    });
    return new Prometheus(address, server);
  }

  /** What it is now; an expression that is none is an error. */
  async query(expression: string): Promise<Sample[]> {
    const { resultType, result } = await this.#ask<{ resultType: string; result: readonly { metric: Record<string, string>; value: [number, string] }[] }>(`query?${new URLSearchParams({ query: expression }).toString()}`);
    if (resultType !== 'vector') throw new Error(`${expression} is a ${resultType}`);
    return result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }));
  }

  /** Of every series that it has had. */
  names(): Promise<string[]> {
    return this.#ask('label/__name__/values');
  }

  /** Its alerts as it has read them: their expressions, and what keeps it from evaluating them. */
  async alerts(): Promise<{ readonly name: string; readonly query: string; readonly health: string; readonly lastError?: string }[]> {
    return (await this.#ask<{ groups: { rules: { name: string; query: string; health: string; lastError?: string }[] }[] }>('rules?type=alert')).groups.flatMap(({ rules }) => rules);
  }

  log(): string {
    return this.#server.log();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  async #ask<Answer>(path: string): Promise<Answer> {
    const response = await fetch(`http://${this.#address}/api/v1/${path}`);
    const answer = (await response.json()) as { status: string; data: Answer; error?: string };
    if (answer.status !== 'success') throw new Error(`${decodeURIComponent(path)}: ${answer.error ?? response.status}`);
    return answer.data;
  }
}

export function promtool(...args: readonly string[]): { readonly code: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(serverPath(cacheFolder(process.env), 'promtool'), args, { encoding: 'utf8' });
  return { code: status, said: `${stdout}${stderr}` };
}
