// Capacity: purchases arrive at a given rate whether or not the earlier ones were answered. A
// closed loop would slow down with a slow lock, and so hide its tail.

import exec from 'k6/execution';

import { purchase, readLedger, requireLock, reset, uniqueProduct } from './lib/client.js';
import { seconds, wholeNumber } from './lib/config.js';
import {
  countLedger, countPurchase, ledgerThresholds, reportOnly, summaryTrendStats,
} from './lib/metrics.js';
import { summary } from './lib/summary.js';

const RATE = wholeNumber('RATE', 500, 1, 1e5);
const DURATION_S = seconds('DURATION', '30s');
const STOCK = wholeNumber('STOCK', 1e6, 1, 1e9);
const PRODUCTS = wholeNumber('PRODUCTS', 100, 1, 1000);
// All VUs are made beforehand, since making one during the run disturbs what is measured. The
// default carries the rate up to 200 ms a purchase; beyond that arrivals are dropped: a failed run.
const VUS = wholeNumber('VUS', Math.max(10, Math.ceil(RATE / 5)), 1, 10000);

// The latency that the thresholds allow. A slower machine than the author's may need more.
const P95_MS = wholeNumber('P95_MS', 500, 1, 60000);
const P99_MS = wholeNumber('P99_MS', 1000, 1, 60000);

const share = (part) => `${Math.round(part * DURATION_S * 1000)}ms`;

export const options = {
  scenarios: {
    arrivals: {
      executor: 'ramping-arrival-rate',
      preAllocatedVUs: VUS,
      stages: [
        { target: RATE, duration: share(0.2) },
        { target: RATE, duration: share(0.7) },
        { target: 0, duration: share(0.1) },
      ],
    },
  },
  thresholds: {
    ...reportOnly,
    ...ledgerThresholds(PRODUCTS),
    // The samples of an arrival that no VU could take are missing from every other metric.
    dropped_iterations: ['count==0'],
    // The rates below pass when nothing ran: this one does not.
    iterations: ['count>0'],
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    'http_req_duration{name:purchase}': [`p(95)<${P95_MS}`, `p(99)<${P99_MS}`],
  },
  summaryTrendStats,
};

export function setup() {
  requireLock();
  const run = uniqueProduct();
  const products = Array.from({ length: PRODUCTS }, (_, i) => `${run}-${i}`);
  products.forEach((product) => reset(product, STOCK));
  return { products };
}

export default function buy({ products }) {
  // In turn, not at random: each product gets the same load in each run.
  countPurchase(purchase(products[exec.scenario.iterationInTest % PRODUCTS]));
}

export function teardown({ products }) {
  products.forEach((product) => countLedger(readLedger(product)));
}

export function handleSummary(data) {
  return summary(data, `high-load-test: up to ${RATE} purchases/s for ${DURATION_S} s, ` +
    `${PRODUCTS} products of ${STOCK}`);
}
