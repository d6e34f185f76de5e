/**
 * The door of every `npm run` command: `node deploy/setup/run.mjs COMMAND [args]`. It looks at the Node that runs it and
 * at nothing else, then hands over to commands.mjs. This file and node-version.mjs keep to the syntax and built-ins of
 * Node 14, so that an old Node meets a sentence instead of a syntax error.
 */
import { nodeVersionComplaint } from './node-version.mjs';

const complaint = nodeVersionComplaint(process.versions.node);
if (complaint) {
  process.stderr.write('alumnus: ' + complaint + '\n');
  process.exit(8);
}

import('./commands.mjs').then((commands) => commands.main(process.argv.slice(2)));
