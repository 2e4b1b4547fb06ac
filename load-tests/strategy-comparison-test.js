// Every strategy under the same load, one after the other, in one table: what it sold, what it got
// wrong, and what it cost. Which of them must be exact is what the server says that they promise.

import exec from 'k6/execution';

import { makeOrder, patience, purchase, readLedger, reset, uniqueProduct } from './lib/client.js';
import { milliseconds, oneOf, seconds, wholeNumber } from './lib/config.js';
import * as column from './lib/columns.js';
import { herdOf, inTurn, joinHerd } from './lib/herd.js';
import {
  allOf, countJudged, countLedger, countPromise, countPurchase, openLoadThresholds, reportOnly,
  series,
} from './lib/metrics.js';
import { POLICIES } from './lib/policies.js';
import { runOptions } from './lib/run.js';
import { chosenLocks, promisesExact, requireStrategies } from './lib/strategies.js';
import { summaryOfMany } from './lib/summary.js';

const LOCKS = chosenLocks();
const RATE = wholeNumber('RATE', 40, 1, 10000);
// Short, for there are many of them: six herds each.
const DURATION_S = seconds('DURATION', '3s');
const DELAY_MS = milliseconds('DELAY', '5ms');
const TTL_MS = milliseconds('TTL', '5s');
const WAIT_MS = milliseconds('WAIT', '2s');
const RETRY = oneOf('RETRY', POLICIES, 'jitter');
const BASE_MS = milliseconds('BASE', '5ms');
const CAP_MS = milliseconds('CAP', '100ms');
// Scarce, so that lost updates become oversold units; enough to last for nine tenths of the run.
const STOCK = wholeNumber('STOCK', Math.ceil(0.9 * RATE * DURATION_S), 1, 1e9);

const ORDERS = {};
LOCKS.forEach((lock) => {
  ORDERS[lock] = makeOrder({
    lock_strategy: lock,
    retry: RETRY,
    // In text, because the server takes a bare number of delay for microseconds.
    delay: `${DELAY_MS}ms`,
    ttl: `${TTL_MS}ms`,
    ...patience({ waitMs: WAIT_MS, baseMs: BASE_MS, capMs: CAP_MS }),
  });
});

export const options = {
  ...runOptions,
  scenarios: inTurn('lock', LOCKS, { rate: RATE, durationS: DURATION_S, waitMs: WAIT_MS }),
  thresholds: allOf(
    reportOnly(),
    openLoadThresholds,
    ...LOCKS.map((lock) => reportOnly({ lock })),
    // A rate without samples passes, as it should for a strategy that is not available. That all
    // others were judged is the second one.
    ...LOCKS.map((lock) => ({ [series('promise_kept', { lock })]: ['rate==1'] })),
    { judged: ['count==1'] },
  ),
};

export function setup() {
  const strategies = requireStrategies(LOCKS);
  const product = uniqueProduct();
  strategies.filter((it) => it.available).forEach((it) => reset(`${product}-${it.name}`, STOCK));
  return { strategies, product };
}

export default function buy({ strategies, product }) {
  const lock = exec.scenario.name;
  if (!strategies.find((it) => it.name === lock).available) return;
  joinHerd();
  countPurchase(ORDERS[lock], purchase(ORDERS[lock], `${product}-${lock}`));
}

export function teardown({ strategies, product }) {
  strategies.filter((it) => it.available).forEach((strategy) => {
    const tags = { lock: strategy.name };
    const { stock, audit } = readLedger(`${product}-${strategy.name}`);
    const mustBeExact = promisesExact(strategy, { workOutlastsTtl: DELAY_MS >= TTL_MS });
    countLedger({ stock, audit }, tags, mustBeExact);
    const exact = audit.ok && stock.oversold === 0 && stock.lost_updates === 0;
    countPromise(exact || !mustBeExact, tags);
  });
  countJudged();
}

export function handleSummary(data) {
  const { strategies = [] } = data.setup_data || {};
  return summaryOfMany(data, {
    experiment: `strategy-comparison-test: ${RATE} purchases/s in herds of ${herdOf(RATE)} ` +
      `for ${DURATION_S} s each, ${STOCK} in stock, work ${DELAY_MS} ms, retry=${RETRY}`,
    tag: 'lock',
    values: LOCKS,
    row: (_, lock) => strategies.find(({ name }) => name === lock),
    columns: [
      column.purchases, column.sold, column.soldOut, column.busy, column.other, column.oversold,
      column.lostUpdates, column.ttlViolations, column.retries, ...column.latencies, column.audit,
    ],
    notes: strategies.map(({ name, expected, available, reason }) => (
      available ? `${name}: ${expected}` : `${name} was left out, it is not available: ${reason}`
    )),
  });
}
