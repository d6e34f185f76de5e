/**
 * A real Chromium of the system's for tests of pages, headless. WebGL is ANGLE on SwiftShader, which computes on the processor.
 * Not for: installing one. No registry package that we take brings a browser: where there is none the tests are left out and say so.
 */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'] as const;

/** `CHROMIUM` names it; else the first on the path. */
export const chromiumPath = (env: NodeJS.ProcessEnv): string | undefined =>
  env['CHROMIUM'] ?? names.flatMap((name) => (env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name))).find((path) => existsSync(path));

export const leftOut = 'there is no Chromium: install it (Debian: `apt-get install chromium`), or name one in CHROMIUM';

export const openBrowser = (executablePath: string): Promise<Browser> => chromium.launch({
  executablePath, timeout: 120_000,
  // The sandbox needs privileges that containers and the root user lack; pages are our own.
  args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'],
});
