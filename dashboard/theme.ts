/** Light or dark: as the system says, or as was chosen here. */
import { useEffect, useState } from 'preact/hooks';

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'alumnus-theme';
const next: Readonly<Record<Theme, Theme>> = { system: 'light', light: 'dark', dark: 'system' };
const listeners = new Set<() => void>();

const chosen = (): Theme => {
  const theme = localStorage.getItem(KEY);
  return theme === 'light' || theme === 'dark' ? theme : 'system';
};

function apply(): void {
  const theme = chosen();
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
  for (const listener of listeners) listener();
}

apply();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply);

export function turnTheme(): void {
  localStorage.setItem(KEY, next[chosen()]);
  apply();
}

export function useTheme(): Theme {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listener = (): void => redraw((times) => times + 1);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return chosen();
}

/** For canvases, which know no variables. */
export function colors<Name extends string>(names: readonly Name[]): Readonly<Record<Name, string>> {
  const probe = document.createElement('span');
  document.body.append(probe);
  const found = Object.fromEntries(names.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  })) as Record<Name, string>;
  probe.remove();
  return found;
}
