/** How the page is built: `npm run build` runs it, and the coordinator serves what it leaves in dist/page. Nothing inline, so that the page's policy can forbid it. */
import path from 'node:path';

const root = import.meta.dirname;

export default {
  root,
  base: './',
  logLevel: 'warn',
  publicDir: 'public',
  cacheDir: path.join(root, '../node_modules/.vite'),
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: path.join(root, '../dist/page'),
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
};
