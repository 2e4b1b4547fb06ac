// The race: every buyer wants the scarce item at the same instant, once. Which units were really
// sold is read from the server's ledger, because lost updates hide an oversell from the stock.

import { makeOrder, purchase, readLedger, reset, uniqueProduct } from './lib/client.js';
import { serverDuration, text, wholeNumber } from './lib/config.js';
import {
  allOf, countLedger, countPurchase, ledgerThresholds, reportOnly,
} from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { startFor, waitFor } from './lib/start.js';
import { requireStrategy } from './lib/strategies.js';
import { summaryOfOne } from './lib/summary.js';

const LOCK = text('LOCK', 'safe');
const VUS = wholeNumber('VUS', 50, 1, 10000);
const STOCK = wholeNumber('STOCK', 1, 1, 1e9);
const ORDER = makeOrder({
  lock_strategy: LOCK, delay: serverDuration('DELAY'), ttl: serverDuration('TTL'),
});

export const options = {
  ...runOptions,
  scenarios: {
    // One shot per VU: a VU that came back for more would race fewer and fewer others.
    everyone_at_once: { executor: 'per-vu-iterations', vus: VUS, iterations: 1 },
  },
  thresholds: allOf(reportOnly(), ledgerThresholds(1), {
    // `checks` passes when nothing was checked: the exact count of iterations rules that out.
    iterations: [`count==${VUS}`],
    checks: ['rate==1'],
    // Nobody retries, so some locks leave stock behind when there is more than one unit, but never
    // all of it.
    units_sold: [STOCK === 1 ? 'count==1' : 'count>0'],
  }),
};

export function setup() {
  requireStrategy(LOCK);
  const product = uniqueProduct();
  reset(product, STOCK);
  return { product, startAt: startFor(VUS) };
}

export default function buy({ product, startAt }) {
  waitFor(startAt);
  countPurchase(ORDER, purchase(ORDER, product));
}

export function teardown({ product }) {
  countLedger(readLedger(product), ORDER.tags);
}

export function handleSummary(data) {
  return summaryOfOne(data, {
    experiment: `oversell-test: ${VUS} buyers at once, ${STOCK} in stock`, lock: LOCK,
  });
}
