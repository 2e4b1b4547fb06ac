//! How the page looks, by day and by night. Words say everything that colours say.

/// Pictures stay white: they are drawn for that.
pub const STYLE: &str = "
:root { --back: #fff; --ink: #1f2937; --faint: #566070; --line: #d5dae2; --shade: #f4f6f9;
  --yes: #0b6b3a; --no: #b3121d; --unknown: #8a5300; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14181f; --ink: #e6e9ee; --faint: #a5afbd; --line: #39414e; --shade: #1e242d;
    --yes: #5fd497; --no: #ff8a8a; --unknown: #f0b65a; }
}
* { box-sizing: border-box; }
body { background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  max-width: 66rem; margin: 0 auto; padding: 1rem 1.25rem 3rem; }
h1 { margin: .5rem 0; font-size: 1.75rem; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; border-top: 1px solid var(--line);
  padding-top: 1.25rem; }
.verdict { border-left: .4rem solid; background: var(--shade); padding: .75rem 1rem;
  font-size: 1.125rem; }
.yes.verdict, .yes .mark { color: var(--yes); }
.no.verdict, .no .mark { color: var(--no); }
.unknown.verdict, .unknown .mark { color: var(--unknown); }
.checks { list-style: none; padding: 0; }
.checks li { display: grid; grid-template-columns: 10.5rem 1fr; gap: .75rem; padding: .3rem 0;
  overflow-wrap: anywhere; }
.mark { font-weight: 700; }
.wide { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; font-size: .9375rem; }
caption { text-align: left; font-weight: 700; padding-bottom: .35rem; }
th, td { text-align: left; font-weight: 400; padding: .3rem 1rem .3rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th, .provenance th { color: var(--faint); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.5rem 0; }
figcaption { font-weight: 700; padding-bottom: .35rem; }
.card { background: #fff; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem;
  overflow-x: auto; }
.card svg { display: block; max-width: 100%; height: auto; min-width: 40rem; margin: 0 auto; }
details { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
summary { cursor: pointer; font-weight: 700; }
code { overflow-wrap: anywhere; }
@media (max-width: 40rem) { .checks li { grid-template-columns: 1fr; gap: 0; } }
";
