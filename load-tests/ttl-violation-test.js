// Work that takes longer than the lease lasts. The next buyer comes in while the last one still
// works: with `safe`, both sell the one unit. `fenced` refuses the late writer, `watchdog` renews, and
// `redlock` extends its leases as often as EXTENSIONS says, which may not be enough.

import exec from 'k6/execution';

import { makeOrder, purchase, readLedger, reset, uniqueProduct } from './lib/client.js';
import { milliseconds, wholeNumber } from './lib/config.js';
import * as column from './lib/columns.js';
import {
  allOf, countLedger, countPurchase, ledgerThresholds, reportOnly, series,
} from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { chosenLocks, requireStrategy } from './lib/strategies.js';
import { summaryOfMany } from './lib/summary.js';

const LOCKS = chosenLocks(['fenced', 'watchdog']);
const EXTENSIONS = wholeNumber('EXTENSIONS', 0, 0, 10);
/** Their leases do not end while the holder lives, or works. */
const RENEWED = [
  'mutex', 'watchdog', 'postgres-advisory', 'mysql-lock', ...(EXTENSIONS > 0 ? ['redlock'] : []),
];
const VUS = wholeNumber('VUS', 5, 2, 1000);
const TTL_MS = milliseconds('TTL', '200ms');
const DELAY_MS = milliseconds('DELAY', '1s');
if (DELAY_MS < 2 * TTL_MS) {
  throw new Error(`DELAY must be at least twice TTL, not ${DELAY_MS} ms with ${TTL_MS} ms`);
}

const ORDERS = {};
LOCKS.forEach((lock) => {
  ORDERS[lock] = makeOrder({
    lock_strategy: lock,
    delay: `${DELAY_MS}ms`,
    ttl: `${TTL_MS}ms`,
    extensions: lock === 'redlock' ? EXTENSIONS : 0,
    retry: 'fixed',
    base: '50ms',
    wait: '50s', // k6 itself gives up after 60 s
    max_retries: 1000,
  });
});

const scenarios = {};
LOCKS.forEach((lock) => { // all at once: each has a product of its own, and the work is idle
  scenarios[lock] = { executor: 'per-vu-iterations', vus: VUS, iterations: 1, tags: { lock } };
});

export const options = {
  ...runOptions,
  scenarios,
  thresholds: allOf(
    reportOnly(),
    ...LOCKS.map((lock) => reportOnly({ lock })),
    ...LOCKS.map((lock) => ledgerThresholds(1, { lock })),
    ...LOCKS.map((lock) => ({
      [series('ttl_violations', { lock })]: [RENEWED.includes(lock) ? 'count==0' : 'count>0'],
      // The newest holder's write stands, so the unit is sold whoever came too late.
      [series('units_sold', { lock })]: ['count==1'],
    })),
    { iterations: [`count==${VUS * LOCKS.length}`], checks: ['rate==1'], http_req_failed: ['rate==0'] },
  ),
};

export function setup() {
  const product = uniqueProduct();
  LOCKS.forEach((lock) => {
    if (!requireStrategy(lock).steps.includes('acquire')) {
      exec.test.abort(`${lock} has no lease that could end: LOCKS must name others`);
    }
    reset(`${product}-${lock}`, 1);
  });
  return { product };
}

export default function buy({ product }) {
  const lock = exec.scenario.name;
  countPurchase(ORDERS[lock], purchase(ORDERS[lock], `${product}-${lock}`));
}

export function teardown({ product }) {
  LOCKS.forEach((lock) => countLedger(readLedger(`${product}-${lock}`), ORDERS[lock].tags));
}

export function handleSummary(data) {
  return summaryOfMany(data, {
    experiment: `ttl-violation-test: ${VUS} buyers of 1 unit, work ${DELAY_MS} ms, ttl ${TTL_MS} ms`,
    tag: 'lock',
    values: LOCKS,
    columns: [
      column.purchases, column.sold, column.soldOut, ['fenced', (row) => row.outcomes.fenced],
      ['lease lost', (row) => row.outcomes.lost],
      column.busy, column.ttlViolations, column.oversold, column.lostUpdates, column.audit,
    ],
  });
}
