// The race: every buyer wants the scarce item at the same instant, once. Which units were really
// sold is read from the server's ledger, because lost updates hide an oversell from the stock.

import { sleep } from 'k6';

import { connect, purchase, readLedger, requireLock, reset, uniqueProduct } from './lib/client.js';
import { wholeNumber } from './lib/config.js';
import {
  countLedger, countPurchase, countStart, ledgerThresholds, reportOnly, summaryTrendStats,
} from './lib/metrics.js';
import { summary } from './lib/summary.js';

const VUS = wholeNumber('VUS', 50, 1, 10000);
const STOCK = wholeNumber('STOCK', 1, 1, 1e9);

// Long enough for every VU to connect before the start; the summary tells how far apart they were.
const HEAD_START_MS = 1000 + 5 * VUS;

export const options = {
  scenarios: {
    // One shot per VU: a VU that came back for more would race fewer and fewer others.
    everyone_at_once: { executor: 'per-vu-iterations', vus: VUS, iterations: 1 },
  },
  thresholds: {
    ...reportOnly,
    ...ledgerThresholds(1),
    // `checks` passes when nothing was checked: the exact count of iterations rules that out.
    iterations: [`count==${VUS}`],
    checks: ['rate==1'],
    // Nobody retries, so some locks leave stock behind when there is more than one unit, but never
    // all of it.
    units_sold: [STOCK === 1 ? 'count==1' : 'count>0'],
  },
  summaryTrendStats,
};

export function setup() {
  requireLock();
  const product = uniqueProduct();
  reset(product, STOCK);
  return { product, startAt: Date.now() + HEAD_START_MS };
}

export default function buy({ product, startAt }) {
  connect();
  sleep(Math.max(0, startAt - Date.now()) / 1000);
  countStart(Date.now() - startAt);
  countPurchase(purchase(product));
}

export function teardown({ product }) {
  countLedger(readLedger(product));
}

export function handleSummary(data) {
  return summary(data, `oversell-test: ${VUS} buyers at once, ${STOCK} in stock`);
}
