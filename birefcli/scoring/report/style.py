"""How pages look, in light and in dark."""

BASE = """
:root { --page: #f6f6f4; --card: #fff; --ink: #1c1d1f; --soft: #66696e; --rule: #e2e2de;
  --bar: #5b7fb4; --mark: #c2410c; --square: #d4d4d2; --field: #fff; }
@media (prefers-color-scheme: dark) { :root { --page: #141517; --card: #1e2023; --ink: #e8e8e6;
  --soft: #9b9fa6; --rule: #34373c; --bar: #7ea2d8; --mark: #fb923c; --square: #3a3d42;
  --field: #2a2d31; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 4px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
.sub, footer { color: var(--soft); margin: 0 0 14px; overflow-wrap: anywhere; }
footer { margin-top: 40px; font-size: 13px; }
img.board { background: conic-gradient(var(--square) 25%, var(--field) 0 50%, var(--square) 0 75%,
  var(--field) 0) 0 0 / 16px 16px; }
"""
"""Of every page."""

STYLE = (
    BASE
    + """
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 60px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; padding: 4px 14px 10px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
.figures { columns: 2 420px; column-gap: 12px; }
.figures .scroll { break-inside: avoid; margin-bottom: 12px; } .figures table { width: 100%; }
.figures thead th:first-child { color: var(--ink); font-weight: 600; }
th, td { padding: 3px 12px 3px 0; text-align: right; white-space: nowrap; font-weight: 400; }
th:first-child { text-align: left; } thead th { color: var(--soft); font-size: 13px; }
tbody tr + tr td, tbody tr + tr th { border-top: 1px solid var(--rule); }
td.mean { font-weight: 650; }
.way { color: var(--soft); }
.histograms { display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); }
.histograms figure, article { background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; padding: 10px 14px; margin: 0; }
figcaption { font-size: 13px; } small { color: var(--soft); }
svg { display: block; width: 100%; height: auto; } rect { fill: var(--bar); }
line.base { stroke: var(--rule); } line.mean { stroke: var(--mark); stroke-width: 1.6; }
text { fill: var(--soft); font-size: 11px; }
article { margin-bottom: 12px; } .caption { margin: 0 0 8px; color: var(--soft); font-size: 13px; }
.caption b { color: var(--ink); font-weight: 600; }
.row { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 10px; }
@media (max-width: 720px) { .row { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.row figure { margin: 0; } .row figcaption { color: var(--soft); text-align: center; }
img { display: block; width: 100%; height: auto; max-height: 340px; object-fit: contain;
  border-radius: 4px; background: var(--field); }
.extra { color: #e25c14; } .missing { color: #2578d6; }
details summary { cursor: pointer; color: var(--soft); margin-bottom: 8px; }
ul { padding-left: 20px; overflow-wrap: anywhere; }
"""
)
"""Of a report of scores."""
