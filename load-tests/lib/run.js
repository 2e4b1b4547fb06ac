// Which run this is: k6's tag `testid` on every sample, and the header X-Run-Id of every request, so
// that the server's metrics and history can be joined with k6's.

import { SharedArray } from 'k6/data';
import exec from 'k6/execution';

import { GRAFANA_URL, RUN_ID, RUN_ID_PATTERN, RUN_ID_VALID } from './config.js';

// Init code runs once per VU, but fills a SharedArray once per run: all VUs see the same id.
const [run] = new SharedArray('run', () => {
  const now = Date.now();
  const madeUp = `${now.toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
  return [{ id: RUN_ID || madeUp, startedAt: now }];
});

/** What `options` of every script has in common. */
export const runOptions = {
  tags: { testid: run.id },
  // k6's default lacks p(99).
  summaryTrendStats: ['avg', 'min', 'med', 'max', 'p(95)', 'p(99)'],
};

/**
 * The id that this run goes by. `--tag testid=x` wins over RUN_ID. `--tag` with other tags alone
 * replaces options.tags and so loses the id, which is then put back for this VU's samples.
 */
export function runId() {
  const { tags } = exec.vu.metrics;
  if (!tags.testid) tags.testid = run.id;
  if (!RUN_ID_PATTERN.test(tags.testid)) {
    throw new Error(`the tag testid must be ${RUN_ID_VALID}, not "${tags.testid}"`);
  }
  return tags.testid;
}

/** This run in Grafana, until now. */
export function grafanaLink(id) {
  const range = `from=${run.startedAt}&to=${Date.now()}`;
  return `${GRAFANA_URL}/d/locklab-k6?var-testid=${encodeURIComponent(id)}&${range}`;
}
