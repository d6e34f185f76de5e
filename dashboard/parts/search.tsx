/** The page's search: `/` goes to it. */
import { useCallback, useRef } from 'preact/hooks';
import { useKey } from '../keys.ts';

export function Search({ label, value, onChange }: { readonly label: string; readonly value: string; onChange(value: string): void }) {
  const input = useRef<HTMLInputElement>(null);
  useKey('/', useCallback(() => input.current?.focus(), []));
  return <input ref={input} class="search" type="search" aria-label={label} placeholder={`${label}  /`} value={value} onInput={(event) => onChange(event.currentTarget.value)} />;
}
