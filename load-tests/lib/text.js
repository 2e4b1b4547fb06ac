// A report for the terminal.

/** Milliseconds with one decimal. */
export function ms(value, unit = '') {
  return value === null ? null : value.toFixed(1) + unit;
}

/** A value for people: at most three digits after what matters, and "unknown" for what is not known. */
export function cellOf(value) {
  if (value === null || value === undefined) return 'unknown';
  if (typeof value !== 'number' || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(3)));
}

/** Columns as wide as their widest cell: the first to the left, and so are notes that have no header. */
function aligned({ header, rows }) {
  const lines = [...(header ? [header] : []), ...rows].map((cells) => cells.map(cellOf));
  const columns = Math.max(...lines.map((cells) => cells.length));
  const isLeft = (column) => column === 0 || (!header && column === 2);
  const widths = Array.from({ length: columns }, (_, column) => (
    Math.max(...lines.map((cells) => (cells[column] || '').length))
  ));
  return lines.map((cells) => {
    const padded = cells.map((cell, column) => (
      isLeft(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
    ));
    return `  ${padded.join('   ')}`.trimEnd();
  });
}

export function conclusionOf({ crossed_thresholds: crossed }) {
  if (crossed.length === 0) return ['No threshold was crossed.'];
  return ['FAILED, thresholds crossed:', ...crossed.map(
    ({ metric, threshold, value }) => `  ${metric} ${threshold}   (was ${cellOf(value)})`,
  )];
}

export function titleOf(report) {
  return `${report.experiment}, ${report.base_url}`;
}

export const NOTHING_MEASURED = 'Nothing was measured: the run was cut short, and k6\'s error says why.';

export function textOf({ report, table, notes }) {
  const body = table
    ? [...aligned(table), '', ...notes, ...(notes.length > 0 ? [''] : []), ...conclusionOf(report)]
    : [`  ${NOTHING_MEASURED}`];
  return [
    titleOf(report), '', ...body, '', `run ${report.run_id}: ${report.grafana_url}`, '',
  ].join('\n');
}
