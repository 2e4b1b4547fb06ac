// The end of a run, as a table for people and (SUMMARY_JSON) as a file for programs, both from one
// report. What was not measured is null there and "unknown" in the table, never 0.

import { BASE_URL, LOCK, SUMMARY_JSON } from './config.js';
import { OUTCOMES } from './metrics.js';

function outcomeCounts(metrics) {
  const counts = {};
  for (const outcome of OUTCOMES) {
    counts[outcome] = metrics[`purchases{outcome:${outcome}}`].values.count;
  }
  return counts;
}

function crossedThresholds(metrics) {
  const crossed = [];
  for (const metric of Object.keys(metrics).sort()) {
    const { values, thresholds = {} } = metrics[metric];
    for (const [threshold, { ok }] of Object.entries(thresholds)) {
      const [statistic] = threshold.split(/[<>=!]/); // `p(95)<500` is about values['p(95)']
      const unread = metric.startsWith('units_') && !metrics.audits_read; // k6 says 0 all the same
      if (!ok) crossed.push({ metric, threshold, value: unread ? null : values[statistic] });
    }
  }
  return crossed;
}

function reportOf(data, experiment) {
  const { metrics } = data;
  const count = (name) => metrics[name].values.count;
  const purchases = metrics.purchases ? count('purchases') : 0;
  const starts = metrics.start_delay;
  const latency = metrics['http_req_duration{name:purchase}'].values;
  return {
    experiment,
    lock: LOCK,
    base_url: BASE_URL,
    duration_ms: data.state.testRunDurationMs,
    purchases,
    outcomes: outcomeCounts(metrics),
    ledger: metrics.audits_read ? {
      audits_read: count('audits_read'),
      audits_ok: count('audits_ok'),
      initial: count('units_initial'),
      sold: count('units_sold'),
      oversold: count('units_oversold'),
      lost_updates: count('lost_updates'),
    } : null,
    latency_ms: purchases > 0 ? { p95: latency['p(95)'], p99: latency['p(99)'] } : null,
    start_spread_ms: starts ? starts.values.max - starts.values.min : null,
    crossed_thresholds: crossedThresholds(metrics),
    metrics,
  };
}

function brief(value) {
  if (value === null) return 'unknown';
  return String(Number.isInteger(value) ? value : Number(value.toPrecision(3)));
}

function row(label, value, note = '') {
  const shown = value === undefined ? 'unknown' : String(value);
  return `  ${label.padEnd(16)}${shown.padStart(12)}${note && `   ${note}`}`;
}

function outcomeRows(purchases, { sold, sold_out, busy, ...others }) {
  const named = Object.entries(others).filter(([, n]) => n > 0);
  return [
    row('sold', sold),
    row('sold_out', sold_out),
    row('busy', busy),
    row('other', purchases - sold - sold_out - busy,
      named.map(([outcome, n]) => `${outcome} ${n}`).join(', ')),
  ];
}

function table(report) {
  const title = `${report.experiment}, lock=${report.lock}, ${report.base_url}`;
  if (report.purchases === 0) {
    return `${title}\n\n  Nothing was measured: the run was cut short, and k6's error says why.\n`;
  }
  const ledger = report.ledger || {};
  const ms = (value) => `${value.toFixed(1)} ms`;
  const crossed = report.crossed_thresholds.map(
    ({ metric, threshold, value }) => `  ${metric} ${threshold}   (was ${brief(value)})`,
  );
  return [
    title,
    '',
    row('purchases', report.purchases, `in ${(report.duration_ms / 1000).toFixed(1)} s`),
    ...outcomeRows(report.purchases, report.outcomes),
    '',
    row('units initial', ledger.initial),
    row('units sold', ledger.sold),
    row('units oversold', ledger.oversold),
    row('lost updates', ledger.lost_updates),
    row('audits ok', ledger.audits_ok, report.ledger ? `of ${ledger.audits_read} read` : ''),
    '',
    row('latency p95', ms(report.latency_ms.p95)),
    row('latency p99', ms(report.latency_ms.p99)),
    ...(report.start_spread_ms === null ? []
      : [row('start spread', ms(report.start_spread_ms), 'between the first and last one sent')]),
    '',
    ...(crossed.length > 0 ? ['FAILED, thresholds crossed:', ...crossed]
      : ['No threshold was crossed.']),
    '',
  ].join('\n');
}

/** What `handleSummary` returns: the table on stdout, and the report in SUMMARY_JSON if named. */
export function summary(data, experiment) {
  const report = reportOf(data, experiment);
  const outputs = { stdout: `\n${table(report)}` };
  if (SUMMARY_JSON) outputs[SUMMARY_JSON] = JSON.stringify(report, null, 2);
  return outputs;
}
