// A steady load, a sudden multiple of it, and the steady load again. During the spike the server may
// refuse what it cannot take; it must get everything right, and be as it was before afterwards.

import { LOCK, countRate, elapsed, makeArrival, makeShop, vusFor } from './lib/arrivals.js';
import { seconds, wholeNumber } from './lib/config.js';
import * as column from './lib/columns.js';
import { allOf, ledgerThresholds, openLoadThresholds, reportOnly, series } from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { summaryOfMany } from './lib/summary.js';

const RATE = wholeNumber('RATE', 50, 1, 1e5);
const SPIKE_RATE = wholeNumber('SPIKE_RATE', 500, 1, 1e5);
/** Of each of the three. */
const DURATION_S = seconds('DURATION', '10s');
const P95_MS = wholeNumber('P95_MS', 500, 1, 60000);
const EDGE_S = 1;

const SHOP = makeShop();
const PHASES = ['before', 'spike', 'after'];
const ORDERS = {};
PHASES.forEach((phase) => { ORDERS[phase] = makeArrival({ phase }); });

function phaseAt(time) {
  if (time < DURATION_S) return 'before';
  return time < 2 * DURATION_S + 2 * EDGE_S ? 'spike' : 'after';
}

const { checks, http_req_failed: failed, ...always } = openLoadThresholds;

export const options = {
  ...runOptions,
  scenarios: {
    arrivals: {
      executor: 'ramping-arrival-rate',
      startRate: RATE,
      preAllocatedVUs: vusFor(SPIKE_RATE),
      stages: [
        { target: RATE, duration: `${DURATION_S}s` },
        { target: SPIKE_RATE, duration: `${EDGE_S}s` },
        { target: SPIKE_RATE, duration: `${DURATION_S}s` },
        { target: RATE, duration: `${EDGE_S}s` },
        { target: RATE, duration: `${DURATION_S}s` },
      ],
    },
  },
  thresholds: allOf(
    reportOnly(),
    ...PHASES.map((phase) => reportOnly({ phase })),
    ...PHASES.map((phase) => ({ [series('purchases', { phase })]: ['count>0'] })),
    always,
    ledgerThresholds(SHOP.count),
    ...['before', 'after'].map((phase) => ({
      [series('checks', { phase })]: checks,
      [series('http_req_failed', { phase })]: failed,
      [series('http_req_duration', { name: 'purchase', phase })]: [`p(95)<${P95_MS}`],
    })),
    // Refused is not failed.
    ...['unavailable', 'error'].map((outcome) => ({
      [series('purchases', { outcome })]: ['count==0'],
    })),
  ),
};

export function setup() {
  return SHOP.open();
}

export default function buy(products) {
  const phase = phaseAt(elapsed());
  countRate(phase === 'spike' ? SPIKE_RATE : RATE);
  SHOP.buy(ORDERS[phase], products);
}

export function teardown(products) {
  SHOP.close(makeArrival(), products);
}

export function handleSummary(data) {
  return summaryOfMany(data, {
    experiment: `spike-test: ${RATE} purchases/s, ${SPIKE_RATE} for ${DURATION_S} s, ${RATE} again, ` +
      `${SHOP.about}, lock=${LOCK}`,
    tag: 'phase',
    values: PHASES,
    columns: [
      column.purchases, column.sold, column.busy, ['shed', (row) => row.outcomes.shed],
      column.other, ...column.latencies,
    ],
  });
}
