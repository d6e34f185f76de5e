/**
 * What this machine is and can do, and which files it needs: tables and keys. A key names everything its cached result depends
 * on, so a result under its key is never refreshed, only used or left.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { SetupError } from './errors.mjs';

export const tensorflowVersion = '2.21.0';

/**
 * The wheel that holds the C library, by `process.platform-process.arch`. The library inside does not depend on the
 * Python version, so one wheel, for CPython 3.11, is named explicitly and any Python with pip can fetch it.
 * `unpackedBytes`: what is kept of it, rounded up; only for the check of free space.
 */
export const wheels = {
  'linux-x64': {
    distribution: 'tensorflow-cpu',
    platformTag: 'manylinux_2_27_x86_64',
    sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
    bytes: 273_829_956,
    unpackedBytes: 860_000_000,
  },
  'linux-arm64': {
    distribution: 'tensorflow',
    platformTag: 'manylinux_2_27_aarch64',
    sha256: '4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c',
    bytes: 281_828_020,
    unpackedBytes: 1_100_000_000,
  },
};

export const wheelPythonVersion = '3.11';

/** glibc of the wheels' manylinux tag. */
export const glibcLeast = [2, 27];

/**
 * @param {{ platform: string, arch: string, glibc: string | undefined }} machine `glibc` undefined: another C library
 * @returns the row of `wheels`
 */
export function wheelFor({ platform, arch, glibc }) {
  const remedy = 'Use a Linux machine or container with glibc 2.27 or newer (Debian 10, Ubuntu 18.10, RHEL 9 or later) on x86-64 or arm64.';
  const wheel = wheels[`${platform}-${arch}`];
  if (wheel === undefined) throw new SetupError(`Alumnus has no TensorFlow library for ${platform} on ${arch}.`, remedy);
  if (glibc === undefined) throw new SetupError('This Linux has no glibc (musl, as in Alpine?), which the TensorFlow library needs.', remedy);
  const [major = 0, minor = 0] = glibc.split('.').map(Number);
  if (major < glibcLeast[0] || (major === glibcLeast[0] && minor < glibcLeast[1])) {
    throw new SetupError(`This Linux has glibc ${glibc}, and the TensorFlow library needs ${glibcLeast.join('.')}.`, remedy);
  }
  return wheel;
}

/** Where everything costly is kept, outside any checkout. */
export function cacheFolder(env, home = os.homedir()) {
  if (env.ALUMNUS_CACHE) return path.resolve(env.ALUMNUS_CACHE);
  return path.join(env.XDG_CACHE_HOME && path.isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : path.join(home, '.cache'), 'alumnus');
}

/** Raise when what is taken out of the wheel changes. */
const libraryLayout = 1;

export function libraryKey(wheel) {
  return `tensorflow-${tensorflowVersion}-${wheel.platformTag}-${wheel.sha256.slice(0, 12)}-${libraryLayout}`;
}

/**
 * @param {{ wheel: object, binding: string, headers: string, flags: string[] }} inputs versions of the packages whose sources are compiled
 */
export function bindingKey({ wheel, binding, headers, flags }) {
  const digest = createHash('sha256').update(JSON.stringify([wheel.sha256, libraryLayout, binding, headers, flags])).digest('hex');
  return `binding-${binding}-${digest.slice(0, 12)}`;
}

/** What starts a program in a network of its own, with nothing but loopback: nothing it sends can leave, and hosts may be made there. */
const ownNetwork = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'own-network'];

/** @returns {string[]} to be put before a program and its arguments; nothing where this machine can't (it takes Linux, root, util-linux and iproute2) */
export function withinOwnNetwork() {
  const [command, ...args] = ownNetwork;
  return spawnSync(command, [...args, 'true'], { stdio: 'ignore' }).status === 0 ? ownNetwork : [];
}
