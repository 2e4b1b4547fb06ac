// Pairs of buyers whose carts hold the same two products in opposite orders. With ORDER=given, each
// takes its first lock and waits for the other's, until a lease ends. With ORDER=sorted, never.

import exec from 'k6/execution';
import { check } from 'k6';
import { Counter } from 'k6/metrics';

import { makeOrder, purchase, readLedger, reset, uniqueProduct } from './lib/client.js';
import { milliseconds, oneOf, text, wholeNumber } from './lib/config.js';
import { statistic } from './lib/facts.js';
import {
  allOf, countLedger, countPurchase, ledgerThresholds, reportOnly,
} from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { startFor, waitFor } from './lib/start.js';
import { requireStrategy } from './lib/strategies.js';
import { summaryOfOne } from './lib/summary.js';

const LOCK = text('LOCK', 'safe');
const ORDER = oneOf('ORDER', ['sorted', 'given'], 'sorted');
const PAIRS = wholeNumber('PAIRS', 5, 1, 500);
const TTL_MS = milliseconds('TTL', '4s');
// Before each lock, so that both buyers of a pair have one when they want the other.
const PAUSE_MS = 300;
if (TTL_MS < 4 * PAUSE_MS) throw new Error(`TTL must be at least ${4 * PAUSE_MS}ms, not ${TTL_MS}ms`);

/** Carts that waited for as long as a lease lasts. */
const deadlocks = new Counter('deadlocks');

function makeCart(names, ttlMs) {
  const items = names.map((name) => ({ product_id: `{product}-${name}`, quantity: 1 }));
  const members = {
    items,
    order: ORDER,
    lock_strategy: LOCK,
    ttl: `${ttlMs}ms`,
    fault: [`pause:${PAUSE_MS}ms@acquire`],
    retry: 'jitter',
    base: '50ms',
    cap: '400ms',
    wait: '50s', // k6 itself gives up after 60 s
    max_retries: 1000,
  };
  return makeOrder(members, { order: ORDER });
}
// One lease ends before the other, so that a deadlock does not begin again in step.
const CARTS = [makeCart(['a', 'b'], TTL_MS), makeCart(['b', 'a'], 2 * TTL_MS)];

export const options = {
  ...runOptions,
  scenarios: {
    pairs: { executor: 'per-vu-iterations', vus: 2 * PAIRS, iterations: 1 },
  },
  thresholds: allOf(reportOnly(), ledgerThresholds(2 * PAIRS), {
    deadlocks: ['count==0'],
    iterations: [`count==${2 * PAIRS}`],
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    // Of each pair, one gets both, and the other, for want of a `b`, none.
    units_sold: [`count==${2 * PAIRS}`],
  }),
};

export function setup() {
  if (!requireStrategy(LOCK).sells_carts) {
    exec.test.abort(`LOCK=${LOCK} sells one product at a time: a cart needs another one`);
  }
  const product = uniqueProduct();
  for (let pair = 0; pair < PAIRS; pair += 1) {
    reset(`${product}-${pair}-a`, 2);
    reset(`${product}-${pair}-b`, 1);
  }
  return { product, startAt: startFor(2 * PAIRS) };
}

export default function buy({ product, startAt }) {
  const buyer = exec.scenario.iterationInTest;
  const cart = CARTS[buyer % 2];
  waitFor(startAt);
  const receipt = purchase(cart, `${product}-${Math.floor(buyer / 2)}`);
  countPurchase(cart, receipt);
  deadlocks.add(receipt.wait_ms >= TTL_MS ? 1 : 0, cart.tags);
}

export function teardown({ product }) {
  for (let pair = 0; pair < PAIRS; pair += 1) {
    const [a, b] = ['a', 'b'].map((name) => readLedger(`${product}-${pair}-${name}`));
    [a, b].forEach((ledger) => countLedger(ledger, CARTS[0].tags));
    check([a, b], { 'all or nothing': () => a.stock.sold === b.stock.sold });
  }
}

export function handleSummary(data) {
  const deadlocked = statistic(data.metrics, 'deadlocks', {}, 'count');
  return summaryOfOne(data, {
    experiment: `deadlock-test: ${PAIRS} pairs of carts, order=${ORDER}, ttl ${TTL_MS} ms`,
    lock: LOCK,
    facts: { order: ORDER, deadlocks: deadlocked },
    more: [['deadlocks', deadlocked, 'carts that waited for a lease to end']],
  });
}
