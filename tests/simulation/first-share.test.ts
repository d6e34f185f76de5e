/** Half of the seeds (share.ts); the other half has a file, and so a process, of its own. */
import { playShare } from './share.ts';

playShare(0);
