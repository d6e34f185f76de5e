/** Flags' values that several dataset commands take. */
import { InvalidArgumentError } from 'commander';

export function imageSize(text: string): { height: number; width: number; channels: 1 | 3 } {
  const match = /^(\d{1,5})x(\d{1,5})x([13])$/.exec(text);
  if (match === null || Number(match[1]) < 1 || Number(match[2]) < 1) throw new InvalidArgumentError('HEIGHTxWIDTHxCHANNELS with 1 or 3 channels, such as 32x32x3, is expected.');
  return { height: Number(match[1]), width: Number(match[2]), channels: match[3] === '1' ? 1 : 3 };
}

/** Names with commas between them. */
export const classList = (text: string): string[] => text.split(',').map((name) => name.trim()).filter((name) => name !== '');
