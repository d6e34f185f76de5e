/** The public door of `coordinator/page`: the page for people, and the HTTP API that it asks. */
export { servePage, type PageOptions, type PageServer } from './server.ts';
