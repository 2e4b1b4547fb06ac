// The end of a run: one report, shown as a table for people, and on request as files: SUMMARY_JSON
// and SUMMARY_JUNIT for programs, SUMMARY_HTML for people who were not there.

import { BASE_URL, text } from './config.js';
import { factsOf, statistic, thresholdsOf } from './facts.js';
import { htmlOf } from './html.js';
import { junitOf } from './junit.js';
import { grafanaLink, runId } from './run.js';
import { ms, textOf } from './text.js';

const SUMMARY_JSON = text('SUMMARY_JSON');
const SUMMARY_HTML = text('SUMMARY_HTML');
const SUMMARY_JUNIT = text('SUMMARY_JUNIT');

/**
 * What `handleSummary` returns. A script gives its `experiment` in words, `facts` for programs, and
 * for people a `table` ({ header, rows }) and `notes`.
 */
function summary(data, { experiment, facts, table, notes = [] }) {
  const id = runId();
  const thresholds = thresholdsOf(data.metrics);
  const report = {
    experiment,
    run_id: id,
    grafana_url: grafanaLink(id),
    base_url: BASE_URL,
    duration_ms: data.state.testRunDurationMs,
    ...facts,
    thresholds,
    crossed_thresholds: thresholds.filter(({ ok }) => !ok)
      .map(({ metric, threshold, value }) => ({ metric, threshold, value })),
    metrics: data.metrics,
  };
  const shown = { report, table: report.purchases > 0 ? table : null, notes };
  const outputs = { stdout: `\n${textOf(shown)}` };
  if (SUMMARY_JSON) outputs[SUMMARY_JSON] = `${JSON.stringify(report, null, 2)}\n`;
  if (SUMMARY_HTML) outputs[SUMMARY_HTML] = htmlOf(shown);
  if (SUMMARY_JUNIT) outputs[SUMMARY_JUNIT] = junitOf(shown);
  return outputs;
}

/** The summary of a run under one strategy: a line for each fact. `more` are lines of the script's own. */
export function summaryOfOne(data, { experiment, lock, facts = {}, more = [], notes }) {
  const all = factsOf(data.metrics);
  const starts = data.metrics.start_delay;
  const spread = starts ? starts.values.max - starts.values.min : null;
  return summary(data, {
    experiment: `${experiment}, lock=${lock}`,
    facts: { lock, ...all, start_spread_ms: spread, ...facts },
    table: { rows: [...lines(all, data.state.testRunDurationMs, spread), ...more] },
    notes,
  });
}

function lines({ purchases, outcomes, ledger, latency_ms: latency, ...facts }, durationMs, spread) {
  if (purchases === 0) return [];
  const { sold, sold_out, busy, ...others } = outcomes;
  const named = Object.entries(others).filter(([, n]) => n > 0).map(([it, n]) => `${it} ${n}`);
  const read = ledger || {};
  const known = (fact) => (read[fact] === undefined ? null : read[fact]);
  return [
    ['purchases', purchases, `in ${(durationMs / 1000).toFixed(1)} s`],
    ['sold', sold],
    ['sold_out', sold_out],
    ['busy', busy],
    ['other', purchases - sold - sold_out - busy, named.join(', ')],
    ['ttl violations', facts.ttl_violations],
    [],
    ['units initial', known('initial')],
    ['units sold', known('sold')],
    ['units oversold', known('oversold')],
    ['lost updates', known('lost_updates')],
    ['audits ok', known('audits_ok'), ledger ? `of ${ledger.audits_read} read` : ''],
    [],
    ['latency p95', ms(latency.p95, ' ms')],
    ['latency p99', ms(latency.p99, ' ms')],
    ...(spread === null ? []
      : [['start spread', ms(spread, ' ms'), 'between the first and last one sent']]),
  ];
}

/**
 * The summary of a run that compares: a row for each value of a tag, under columns of `columns.js`.
 * `row(facts, value)` may add facts of the script's own.
 */
export function summaryOfMany(data, { experiment, tag, values, row = () => ({}), columns, notes }) {
  const rows = values.map((value) => {
    const facts = factsOf(data.metrics, { [tag]: value });
    return { [tag]: value, ...facts, ...row(facts, value) };
  });
  return summary(data, {
    experiment,
    facts: { purchases: statistic(data.metrics, 'purchases', {}, 'count'), rows },
    table: {
      header: [tag, ...columns.map(([title]) => title)],
      rows: rows.map((it) => [it[tag], ...columns.map(([, cell]) => cell(it))]),
    },
    notes,
  });
}
