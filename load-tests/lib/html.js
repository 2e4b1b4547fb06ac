// A report as one small page that needs nothing else.

import { NOTHING_MEASURED, cellOf, titleOf } from './text.js';

/** Text that HTML and XML take as text, in an attribute too. */
export function escaped(value) {
  const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\'': '&#39;' };
  return cellOf(value).replace(/[&<>"']/g, (it) => entities[it]);
}

const STYLE = `
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
  table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
  th, td { border-bottom: 1px solid #8884; padding: 0.2em 0.8em; text-align: right; }
  th:first-child, td:first-child, .left td { text-align: left; }
  .failed { color: #b00020; }
  :root { color-scheme: light dark; }`;

function rowOf(cells, kind) {
  return `<tr>${cells.map((it) => `<${kind}>${escaped(it)}</${kind}>`).join('')}</tr>`;
}

function tableOf({ header, rows }) {
  const head = header ? `<thead>${rowOf(header, 'th')}</thead>` : '';
  const body = rows.filter((cells) => cells.length > 0).map((cells) => rowOf(cells, 'td'));
  return `<table>${head}<tbody>${body.join('\n')}</tbody></table>`;
}

function thresholdsOf({ thresholds }) {
  const rows = thresholds.map(({ metric, threshold, ok, value }) => {
    const cells = rowOf([metric, threshold, value, ok ? 'held' : 'crossed'], 'td');
    return ok ? cells : cells.replace('<tr>', '<tr class="failed">');
  });
  const head = rowOf(['metric', 'threshold', 'value', ''], 'th');
  return `<table class="left"><thead>${head}</thead><tbody>${rows.join('\n')}</tbody></table>`;
}

export function htmlOf({ report, table, notes }) {
  const crossed = report.crossed_thresholds.length;
  const body = table ? [
    tableOf(table),
    ...notes.map((note) => `<p>${escaped(note)}</p>`),
    crossed > 0 ? `<h2 class="failed">FAILED: ${crossed} thresholds crossed</h2>`
      : '<h2>No threshold was crossed</h2>',
    thresholdsOf(report),
  ] : [`<p class="failed">${NOTHING_MEASURED}</p>`];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width"/>
<title>${escaped(report.experiment)}</title>
<style>${STYLE}
</style>
</head>
<body>
<h1>${escaped(titleOf(report))}</h1>
<p>Run <a href="${escaped(report.grafana_url)}">${escaped(report.run_id)}</a>,
${escaped(report.duration_ms / 1000)} s</p>
${body.join('\n')}
</body>
</html>
`;
}
