// What k6 measured, by tags. What was not measured is null, never 0.

import { LEDGER_FACTS, OUTCOMES, series } from './metrics.js';

/** Reads one statistic of a series; null if nothing was counted. */
export function statistic(metrics, name, tags, which) {
  const metric = metrics[series(name, tags)];
  const value = metric && metric.values[which];
  return value === undefined ? null : value;
}

/** The facts of all samples with these tags: those that `reportOnly(tags)` makes k6 report. */
export function factsOf(metrics, tags = {}) {
  const count = (name, more) => statistic(metrics, name, { ...tags, ...more }, 'count');
  const trend = (name, more, statistics) => Object.fromEntries(Object.entries(statistics).map(
    ([key, which]) => [key, statistic(metrics, name, { ...more, ...tags }, which)],
  ));
  const outcomes = {};
  OUTCOMES.forEach((outcome) => { outcomes[outcome] = count('purchases', { outcome }); });
  const purchases = count('purchases');
  const undecided = outcomes.shed + outcomes.unavailable + outcomes.error;
  const decided = purchases - undecided;
  const facts = {
    purchases,
    decided,
    outcomes,
    retries_per_purchase: decided > 0 ? count('purchase_retries') / decided : null,
    wait_ms: decided > 0 ? trend('lock_wait', {}, {
      avg: 'avg', p50: 'med', p95: 'p(95)', p99: 'p(99)', max: 'max',
    }) : null,
    ttl_violations: decided > 0 ? count('ttl_violations') : null,
    latency_ms: purchases > 0 ? trend('http_req_duration', { name: 'purchase' }, {
      p50: 'med', p95: 'p(95)', p99: 'p(99)', max: 'max',
    }) : null,
    ledger: null,
  };
  if (count('audits_read') > 0) {
    facts.ledger = { audits_read: count('audits_read'), audits_ok: count('audits_ok') };
    LEDGER_FACTS.forEach((fact) => {
      facts.ledger[fact] = count(fact === 'lost_updates' ? fact : `units_${fact}`);
    });
  }
  return facts;
}

/** Every threshold that can fail, with the value that decided it; null where nothing was counted. */
export function thresholdsOf(metrics) {
  const verdicts = [];
  Object.keys(metrics).sort().forEach((metric) => {
    const { values, thresholds = {} } = metrics[metric];
    Object.entries(thresholds).forEach(([threshold, { ok }]) => {
      const [which] = threshold.split(/[<>=!]/); // `p(95)<500` is about values['p(95)']
      if (ok && /^(count|max)>=0$/.test(threshold)) return; // only there to be reported
      verdicts.push({ metric, threshold, ok, value: wasCounted(metrics, metric) ? values[which] : null });
    });
  });
  return verdicts;
}

/** k6 says 0 for a ledger that nobody read, and for a difference that was never taken. */
function wasCounted(metrics, metric) {
  const [, of] = metric.match(/^(server_\w+)_growth/) || [];
  if (of) return statistic(metrics, `${of}_compared`, {}, 'count') > 0;
  if (!/^(units_|lost_updates)/.test(metric)) return true;
  return statistic(metrics, 'audits_read', {}, 'count') > 0;
}
