// Capacity: purchases arrive at a given rate whether or not the earlier ones were answered. A
// closed loop would slow down with a slow lock, and so hide its tail.

import { LOCK, makeArrival, makeShop, vusFor } from './lib/arrivals.js';
import { seconds, wholeNumber } from './lib/config.js';
import { allOf, ledgerThresholds, openLoadThresholds, reportOnly } from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { summaryOfOne } from './lib/summary.js';

const RATE = wholeNumber('RATE', 500, 1, 1e5);
const DURATION_S = seconds('DURATION', '30s');
const SHOP = makeShop();
const ORDER = makeArrival();

// The latency that the thresholds allow. A slower machine than the author's may need more.
const P95_MS = wholeNumber('P95_MS', 500, 1, 60000);
const P99_MS = wholeNumber('P99_MS', 1000, 1, 60000);

const share = (part) => `${Math.round(part * DURATION_S * 1000)}ms`;

export const options = {
  ...runOptions,
  scenarios: {
    arrivals: {
      executor: 'ramping-arrival-rate',
      preAllocatedVUs: vusFor(RATE),
      stages: [
        { target: RATE, duration: share(0.2) },
        { target: RATE, duration: share(0.7) },
        { target: 0, duration: share(0.1) },
      ],
    },
  },
  thresholds: allOf(reportOnly(), openLoadThresholds, ledgerThresholds(SHOP.count), {
    'http_req_duration{name:purchase}': [`p(95)<${P95_MS}`, `p(99)<${P99_MS}`],
  }),
};

export function setup() {
  return SHOP.open();
}

export default function buy(products) {
  SHOP.buy(ORDER, products);
}

export function teardown(products) {
  SHOP.close(ORDER, products);
}

export function handleSummary(data) {
  return summaryOfOne(data, {
    experiment: `high-load-test: up to ${RATE} purchases/s for ${DURATION_S} s, ` +
      `${SHOP.about}`,
    lock: LOCK,
  });
}
