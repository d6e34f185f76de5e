/** The report's look: system fonts, the reader's own choice of light or dark, one column on a phone. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --panel: #ffffff; --ink: #1c2024; --muted: #5c6670; --line: #dfe3e6;
  --validation: #1f5fbf; --test: #b4540a; --control: #6a6f78; --good: #17733a; --bad: #b3261e; --warn: #fff4d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --panel: #1c2024; --ink: #e8eaec; --muted: #a2abb3; --line: #343a40;
    --validation: #7fb2ff; --test: #ffab66; --control: #a9b0b8; --good: #6fd28c; --bad: #ff8f85; --warn: #3a3112;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 40px 0 8px; }
h3 { font-size: 1rem; margin: 0 0 4px; }
p { margin: 4px 0 12px; }
.lead { color: var(--muted); }
.note, .empty, figcaption { color: var(--muted); font-size: 0.875rem; }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 16px; }
.grid-of-panels { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); align-items: start; }
.findings { padding-left: 20px; margin: 8px 0; }
.findings li { margin: 6px 0; }
.warnings { background: var(--warn); border-radius: 8px; padding: 8px 16px; margin: 12px 0; }
.warnings ul { margin: 4px 0; padding-left: 20px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 0; }
dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: 0.85em ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.925rem; }
th, td { text-align: left; padding: 6px 8px; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th { font-weight: 600; color: var(--muted); font-size: 0.825rem; white-space: normal; }
thead th { vertical-align: bottom; }
tbody th { color: var(--ink); font-size: inherit; min-width: 5em; }
td.prose { white-space: normal; min-width: 13em; }
td.wrap { white-space: normal; min-width: 7em; }
td.figure, th.figure { text-align: right; }
td small, tbody th small { display: block; font-weight: 400; color: var(--muted); font-size: 0.8rem; white-space: normal; text-wrap: balance; }
tr.control td, tr.control th { border-top: 2px solid var(--line); }
tr.best th, tr.best td { background: color-mix(in srgb, var(--validation) 10%, transparent); }
.good { color: var(--good); }
.bad { color: var(--bad); }
.delta { display: inline-block; min-width: 4.5em; text-align: right; }
svg.chart { display: block; width: 100%; max-width: 560px; height: auto; margin: 4px 0; }
@media (min-width: 900px) { figure.beside { display: grid; grid-template-columns: minmax(0, 560px) 1fr; gap: 0 24px; align-items: center; } }
.stroke { fill: none; stroke-width: 2; stroke-linejoin: round; }
.stroke.thin { stroke-width: 1.25; }
.stroke.validation { stroke: var(--validation); } .fill.validation { fill: var(--validation); }
.stroke.test { stroke: var(--test); } .fill.test { fill: var(--test); }
.stroke.better { stroke: var(--good); stroke-width: 4; } .stroke.worse { stroke: var(--bad); stroke-width: 4; stroke-dasharray: 3 2; }
.stroke.control { stroke: var(--control); } .fill.control { fill: var(--control); }
rect.hollow { fill: none; stroke: var(--line); stroke-dasharray: 3 3; }
line.grid { stroke: var(--line); stroke-width: 1; }
text.tick { fill: var(--muted); font-size: 11.5px; }
text.name { fill: var(--ink); font-size: 12px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 0; margin: 4px 0; font-size: 0.85rem; color: var(--muted); }
.legend svg { vertical-align: -1px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)); gap: 10px; margin: 8px 0 20px; padding: 0; list-style: none; }
.gallery img { display: block; width: 64px; height: 64px; object-fit: contain; image-rendering: pixelated; background: #000; border-radius: 4px; }
.gallery figure { margin: 0; }
.gallery figcaption { font-size: 0.75rem; line-height: 1.3; overflow-wrap: anywhere; margin-top: 2px; }
ol.lineage { padding-left: 20px; }
ol.lineage li { margin: 8px 0; }
footer { margin-top: 48px; color: var(--muted); font-size: 0.85rem; }
@media (max-width: 480px) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; } main { padding-top: 16px; } .panel { padding: 12px; } }
@media (max-width: 640px) {
  table.cards thead { display: none; }
  table.cards tr { display: block; border-bottom: 2px solid var(--line); padding: 6px 0; }
  table.cards th, table.cards td, table.cards td.figure { display: flex; justify-content: space-between; gap: 12px; text-align: right; border: 0; padding: 2px 4px; white-space: normal; flex-wrap: wrap; }
  table.cards td[data-label]::before { content: attr(data-label); color: var(--muted); font-size: 0.825rem; }
  table.cards td:empty { display: none; }
  table.cards td small { flex-basis: 100%; }
  table.cards th[scope="row"] { font-size: 1.05rem; }
}
@media print { .panel { break-inside: avoid; } }
`;
