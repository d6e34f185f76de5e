/**
 * Which Node versions run Alumnus. The list is closed at both ends: the bundled native modules (lmdb, sharp, the
 * TensorFlow binding) and the tools are known to work on these majors, and an unknown one fails late and obscurely.
 * Syntax of Node 14 only, like run.mjs.
 */

/** The least version of each supported major, as [major, minor]. ESLint 10 and Vite 8 set the minors. */
export const supportedNode = [[20, 19], [22, 13], [24, 0]];

/**
 * @param {string} version such as `20.19.1`
 * @returns {string | undefined} what is wrong and what to do, or undefined when this version is supported
 */
export function nodeVersionComplaint(version) {
  const parts = version.split('.').map(Number);
  const major = parts[0];
  const minor = parts[1];
  const newest = supportedNode[supportedNode.length - 1][0];
  for (const supported of supportedNode) {
    if (major === supported[0] && minor >= supported[1]) return undefined;
  }
  const wanted = 'Node 20.19 or newer, 22.13 or newer, or 24';
  if (major > newest) {
    return 'Node ' + version + ' is newer than Alumnus knows. Use ' + wanted + ' (node --version shows which one runs).';
  }
  if (major < supportedNode[0][0] || (major === supportedNode[0][0] && minor < supportedNode[0][1])) {
    return 'Node ' + version + ' is too old. Install ' + wanted + ' and run the command again.';
  }
  return 'Node ' + version + ' is not supported. Use ' + wanted + ' and run the command again.';
}
