// Does it work at all: one buyer, every strategy once, one after the other.

import { check } from 'k6';

import { makeOrder, purchase, readLedger, reset, uniqueProduct } from './lib/client.js';
import { serverDuration, wholeNumber } from './lib/config.js';
import * as column from './lib/columns.js';
import { allOf, countLedger, countPurchase, reportOnly, series } from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { chosenLocks, requireStrategies } from './lib/strategies.js';
import { summaryOfMany } from './lib/summary.js';

const LOCKS = chosenLocks();
const STOCK = wholeNumber('STOCK', 1, 0, 1e9);
const WAYS = { delay: serverDuration('DELAY'), ttl: serverDuration('TTL') };

export const options = {
  ...runOptions,
  scenarios: {
    one_buyer: { executor: 'per-vu-iterations', vus: 1, iterations: 1 },
  },
  thresholds: allOf(
    reportOnly(),
    ...LOCKS.map((lock) => reportOnly({ lock })),
    ...LOCKS.map((lock) => ({ [series('checks', { lock })]: ['rate==1'] })),
    {
      // Checks pass when nothing was checked.
      iterations: ['count==1'],
      purchases: ['count>0'],
      checks: ['rate==1'],
      http_req_failed: ['rate==0'],
      units_oversold: ['count==0'],
    },
  ),
};

export function setup() {
  return { strategies: requireStrategies(LOCKS), product: uniqueProduct() };
}

export default function buyOneOfEach({ strategies, product }) {
  strategies.filter((it) => it.available).forEach(({ name: lock }) => {
    const its = `${product}-${lock}`;
    reset(its, STOCK);
    const order = makeOrder({ lock_strategy: lock, ...WAYS });
    const receipt = purchase(order, its);
    countPurchase(order, receipt);
    const ledger = readLedger(its);
    countLedger(ledger, order.tags);
    check(receipt, {
      'unit was sold': ({ outcome }) => outcome === 'sold',
      'ledger has it': () => ledger.stock.sold === 1 && ledger.audit.ok,
    }, order.tags);
  });
}

export function handleSummary(data) {
  const { strategies = [] } = data.setup_data || {};
  return summaryOfMany(data, {
    experiment: `smoke-test: one purchase under each strategy, ${STOCK} in stock`,
    tag: 'lock',
    values: LOCKS,
    row: (_, lock) => strategies.find(({ name }) => name === lock),
    columns: [column.purchases, column.sold, column.other, column.latencies[0], column.audit],
    notes: strategies.filter(({ available }) => !available).map(({ name, reason }) => (
      `${name} was left out, it is not available: ${reason}`
    )),
  });
}
