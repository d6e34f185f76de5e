/** Figures as people read them: as the command line's. */
export const none = '–';

export const integer = (value: number): string => Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');

/** A share from 0 to 1. */
export const percent = (share: number, digits = 1): string => `${(share * 100).toFixed(digits)} %`;

/** In percentage points, with its sign. */
export const points = (difference: number, digits = 1): string => {
  const text = (Math.abs(difference) * 100).toFixed(digits);
  return `${difference < 0 && Number(text) !== 0 ? '−' : '+'}${text}`;
};

/** Its two largest units. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export const plural = (count: number, noun: string): string => `${integer(count)} ${noun}${count === 1 ? '' : 's'}`;

export const instant = (ms: number): string => (ms === 0 ? none : `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`);

export const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 19);

/** Near 0 and 1 with the digits that tell neighbors apart. */
export const confidence = (value: number): string => (value > 0.9995 ? `${(100 * value).toFixed(3)} %` : value > 0.99 || value < 0.01 ? percent(value, 2) : percent(value));

export interface Counted {
  readonly correct: number;
  readonly total: number;
}

export const shareOf = (score: Counted | undefined): number | undefined => (score === undefined || score.total === 0 ? undefined : score.correct / score.total);

const Z = 1.959963984540054;

/** Wilson's 95 % interval of a share. */
export function wilson({ correct, total }: Counted): { readonly low: number; readonly high: number } {
  const share = correct / total;
  const scale = 1 + Z ** 2 / total;
  const middle = (share + Z ** 2 / (2 * total)) / scale;
  const half = (Z / scale) * Math.sqrt((share * (1 - share)) / total + Z ** 2 / (4 * total ** 2));
  return { low: middle - half, high: middle + half };
}
