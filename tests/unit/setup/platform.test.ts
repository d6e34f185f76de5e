import { describe, expect, it } from 'vitest';
import { bindingKey, cacheFolder, libraryKey, wheelFor, wheels } from '../../../deploy/setup/platform.mjs';

describe('the platform table', () => {
  it('has one wheel, by digest, for each supported machine', () => {
    expect(wheelFor({ platform: 'linux', arch: 'x64', glibc: '2.36' })).toMatchObject({ distribution: 'tensorflow-cpu', platformTag: 'manylinux_2_27_x86_64' });
    expect(wheelFor({ platform: 'linux', arch: 'arm64', glibc: '2.27' })).toMatchObject({ distribution: 'tensorflow', platformTag: 'manylinux_2_27_aarch64' });
    for (const wheel of Object.values(wheels)) expect(wheel.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each([
    [{ platform: 'darwin', arch: 'arm64', glibc: undefined }, 'Alumnus has no TensorFlow library for darwin on arm64.'],
    [{ platform: 'linux', arch: 'riscv64', glibc: '2.36' }, 'Alumnus has no TensorFlow library for linux on riscv64.'],
    [{ platform: 'linux', arch: 'x64', glibc: undefined }, 'This Linux has no glibc (musl, as in Alpine?), which the TensorFlow library needs.'],
    [{ platform: 'linux', arch: 'x64', glibc: '2.17' }, 'This Linux has glibc 2.17, and the TensorFlow library needs 2.27.'],
  ])('says why %o is not supported', (machine, sentence) => {
    expect(() => wheelFor(machine)).toThrow(sentence);
  });
});

describe('the cache', () => {
  it.each([
    [{}, '/home/ada/.cache/alumnus'],
    [{ XDG_CACHE_HOME: '/fast' }, '/fast/alumnus'],
    [{ XDG_CACHE_HOME: 'relative, which the specification ignores' }, '/home/ada/.cache/alumnus'],
    [{ ALUMNUS_CACHE: '/big/disk', XDG_CACHE_HOME: '/fast' }, '/big/disk'],
  ])('with %o lies at %s', (env, folder) => {
    expect(cacheFolder(env, '/home/ada')).toBe(folder);
  });
});

describe('cache keys', () => {
  const wheel = wheels['linux-x64'];
  const inputs = { wheel, binding: '4.22.0', headers: '1.9.0', flags: ['-O2'] };

  it('are stable for the same inputs', () => {
    expect(bindingKey({ ...inputs })).toBe(bindingKey({ ...inputs }));
    expect(libraryKey(wheel)).toMatch(/^tensorflow-2\.21\.0-manylinux_2_27_x86_64-2b847d217b02-\d+$/);
  });

  it.each([
    ['the wheel', { wheel: wheels['linux-arm64'] }],
    ['the binding', { binding: '4.23.0' }],
    ['the headers', { headers: '1.10.0' }],
    ['the flags', { flags: ['-O3'] }],
  ])('change with %s', (_, change) => {
    expect(bindingKey({ ...inputs, ...change })).not.toBe(bindingKey(inputs));
  });
});
