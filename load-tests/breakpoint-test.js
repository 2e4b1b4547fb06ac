// More and more purchases per second until it breaks, and at which rate that was. Breaking is what
// this test is for: exit code 99. With 0, it held up to MAX_RATE.
//
// The rate is that of a scenario: an executor at the root of `options` is ignored by k6, and would
// be a closed loop that never breaks. Latency is judged by a count of slow purchases, since a
// percentile over the whole run lags behind the rate.

import { Counter } from 'k6/metrics';

import { LOCK, countRate, elapsed, makeArrival, makeShop, vusFor } from './lib/arrivals.js';
import { seconds, wholeNumber } from './lib/config.js';
import { statistic } from './lib/facts.js';
import { allOf, ledgerThresholds, openLoadThresholds, reportOnly } from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { summaryOfOne } from './lib/summary.js';

const MAX_RATE = wholeNumber('MAX_RATE', 5000, 2, 1e5);
const DURATION_S = seconds('DURATION', '2m');
/** A purchase that takes longer is slow, and so many of them are a break. */
const SLOW_MS = wholeNumber('SLOW_MS', 1000, 1, 60000);
const SLOW_MAX = wholeNumber('SLOW_MAX', 50, 0, 1e6);
const SHOP = makeShop();
const ORDER = makeArrival();

const slowPurchases = new Counter('slow_purchases');

// Requests that k6 breaks off are failed ones to k6, but say nothing of the server; `checks` does.
const { http_req_failed: _, ...always } = openLoadThresholds;

const breaks = (threshold) => [{ threshold, abortOnFail: true }];

export const options = {
  ...runOptions,
  scenarios: {
    arrivals: {
      executor: 'ramping-arrival-rate',
      preAllocatedVUs: vusFor(MAX_RATE),
      stages: [{ target: MAX_RATE, duration: `${DURATION_S}s` }],
    },
  },
  thresholds: {
    ...allOf(reportOnly(), always, ledgerThresholds(SHOP.count)),
    dropped_iterations: breaks('count==0'),
    checks: breaks('rate==1'),
    slow_purchases: breaks(`count<=${SLOW_MAX}`),
    arrival_rate: ['value>0'],
  },
};

export function setup() {
  return SHOP.open();
}

export default function buy(products) {
  const rate = MAX_RATE * elapsed() / DURATION_S;
  countRate(rate);
  const { latency_ms: latency } = SHOP.buy(ORDER, products);
  slowPurchases.add(latency > SLOW_MS ? 1 : 0, ORDER.tags);
}

export function teardown(products) {
  SHOP.close(ORDER, products);
}

export function handleSummary(data) {
  const reached = statistic(data.metrics, 'arrival_rate', {}, 'max');
  const crossed = (name) => {
    const thresholds = Object.values((data.metrics[name] || {}).thresholds || {});
    return thresholds.some(({ ok }) => !ok);
  };
  const why = ['dropped_iterations', 'checks', 'slow_purchases'].filter(crossed);
  const rate = reached === null ? null : Math.round(reached);
  return summaryOfOne(data, {
    experiment: `breakpoint-test: up to ${MAX_RATE} purchases/s within ${DURATION_S} s, ` +
      `${SHOP.about}`,
    lock: LOCK,
    facts: { broke: why.length > 0, broke_by: why, reached_rate: rate },
    more: [
      [],
      ['broke at', why.length > 0 ? `${rate}/s` : 'no rate', `${why.join(', ') || `held ${rate}/s`}`],
    ],
    notes: why.length > 0
      ? ['k6 looks every 2 s, so the break was at most that much earlier.'] : [],
  });
}
