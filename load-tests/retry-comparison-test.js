// Every way to wait for a lock, one after the other, under the same load: herds of buyers who want
// the same product at the same instant.
//
// Fairness is Jain's index over how long each buyer waited, whether it won or gave up. Every buyer
// comes once, so there are no wins per client to compare: what a policy can do to a buyer is to let
// it wait out of proportion. In a herd of n that is served one by one the waits are 0, 1, … n − 1
// turns, whoever is first, and the index is 3(n − 1) / 2(2n − 1): the most there is. What is below
// that was wasted or shared out badly.

import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

import { makeOrder, patience, purchase, readLedger, reset, uniqueProduct } from './lib/client.js';
import { milliseconds, seconds, someOf, text, wholeNumber } from './lib/config.js';
import * as column from './lib/columns.js';
import { statistic } from './lib/facts.js';
import { herdOf, inTurn, joinHerd } from './lib/herd.js';
import {
  allOf, countLedger, countPurchase, ledgerThresholds, openLoadThresholds, reportOnly, series,
} from './lib/metrics.js';
import { POLICIES as ALL } from './lib/policies.js';
import { runOptions } from './lib/run.js';
import { requireStrategy } from './lib/strategies.js';
import { summaryOfMany } from './lib/summary.js';

const LOCK = text('LOCK', 'safe');
const POLICIES = someOf('POLICIES', ALL) || ALL;
const RATE = wholeNumber('RATE', 20, 1, 10000);
const DURATION_S = seconds('DURATION', '10s');
const DELAY_MS = milliseconds('DELAY', '10ms');
const WAIT_MS = milliseconds('WAIT', '2s');
const BASE_MS = milliseconds('BASE', '20ms');
const CAP_MS = milliseconds('CAP', '400ms');
const STOCK = wholeNumber('STOCK', 1e6, 1, 1e9);
const HERD = herdOf(RATE);

/** In square milliseconds: with the mean, this gives Jain's index. */
const waitSquares = new Counter('wait_squares');

const ORDERS = {};
POLICIES.forEach((retry) => {
  ORDERS[retry] = makeOrder({
    lock_strategy: LOCK,
    retry,
    delay: `${DELAY_MS}ms`,
    ...patience({ waitMs: WAIT_MS, baseMs: BASE_MS, capMs: CAP_MS }),
  });
});

export const options = {
  ...runOptions,
  scenarios: inTurn('retry', POLICIES, { rate: RATE, durationS: DURATION_S, waitMs: WAIT_MS }),
  thresholds: allOf(
    reportOnly(),
    openLoadThresholds,
    ...POLICIES.map((retry) => reportOnly({ retry })),
    ...POLICIES.map((retry) => ledgerThresholds(1, { retry })),
    ...POLICIES.map((retry) => ({
      [series('purchases', { retry, outcome: 'sold' })]: ['count>0'],
      [series('wait_squares', { retry })]: ['count>=0'],
    })),
  ),
};

export function setup() {
  requireStrategy(LOCK);
  const product = uniqueProduct();
  POLICIES.forEach((retry) => reset(`${product}-${retry}`, STOCK));
  return { product };
}

export default function buy({ product }) {
  const retry = exec.scenario.name;
  joinHerd();
  const receipt = purchase(ORDERS[retry], `${product}-${retry}`);
  countPurchase(ORDERS[retry], receipt);
  if (receipt.wait_ms !== undefined) {
    waitSquares.add(receipt.wait_ms * receipt.wait_ms, ORDERS[retry].tags);
  }
}

export function teardown({ product }) {
  POLICIES.forEach((retry) => {
    countLedger(readLedger(`${product}-${retry}`), ORDERS[retry].tags);
  });
}

/** Null where nobody waits, or nobody came. */
function fairnessOf(metrics, retry, { decided, wait_ms: wait }) {
  const squares = statistic(metrics, 'wait_squares', { retry }, 'count');
  return retry !== 'none' && squares > 0 ? decided * wait.avg * wait.avg / squares : null;
}

export function handleSummary(data) {
  const ideal = 3 * (HERD - 1) / (2 * (2 * HERD - 1));
  return summaryOfMany(data, {
    experiment: `retry-comparison-test: ${RATE} purchases/s in herds of ${HERD} for ` +
      `${DURATION_S} s each, lock=${LOCK}, work ${DELAY_MS} ms`,
    tag: 'retry',
    values: POLICIES,
    row: (facts, retry) => ({
      success_ratio: facts.purchases > 0 ? facts.outcomes.sold / facts.purchases : null,
      fairness: fairnessOf(data.metrics, retry, facts),
    }),
    columns: [
      column.purchases, column.sold, column.busy, column.other,
      ['success', (row) => row.success_ratio], column.retries, ...column.waits,
      ['fairness', ({ retry, fairness }) => (retry === 'none' ? '-' : fairness)], column.audit,
    ],
    notes: [
      'retries are per purchase, waits in ms; fairness is Jain\'s index over the waits of all buyers,',
      `${ideal.toFixed(2)} if each herd is served one by one without a gap.`,
    ],
  });
}
