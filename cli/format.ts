/** Figures as people read them, the same in a terminal and in the report. Not for programs: `-o json` gives raw values. */

export const none = '–';

export const integer = (value: number): string => Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');

/** A share from 0 to 1 as percent. */
export const percent = (share: number, digits = 1): string => `${(share * 100).toFixed(digits)} %`;

/** A difference of shares, in percentage points, with its sign. */
export const points = (difference: number, digits = 1): string => {
  const text = (Math.abs(difference) * 100).toFixed(digits);
  return `${difference < 0 && Number(text) !== 0 ? '−' : '+'}${text}`;
};

/** Values below are told as a bound: more digits say nothing. */
const P_VALUE_SMALL = 0.001;

export const pValue = (p: number): string => (p < P_VALUE_SMALL ? `p < ${P_VALUE_SMALL}` : `p = ${p.toFixed(p < 0.1 ? 3 : 2)}`);

/** A duration in milliseconds as its two largest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

export const plural = (count: number, noun: string): string => `${integer(count)} ${noun}${count === 1 ? '' : 's'}`;

/** The first characters of a digest: enough to tell apart, short enough to read. */
export const shortDigest = (sha256: string): string => sha256.slice(0, 12);

/** Unix milliseconds as UTC to the second; empty for 0, which the wire uses for "not yet". */
export const instant = (ms: number): string => (ms === 0 ? '' : `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`);

// eslint-disable-next-line no-control-regex -- control characters are what this takes out
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

/** Text from a recipe, a file or a peer on one line, without characters that could steer a terminal. */
export const plain = (text: string): string => text.replace(CONTROL, ' ');
