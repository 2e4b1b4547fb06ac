// A buyer crashes at STEP and leaves its lock behind, while others go on buying: how long are they
// blocked, and is every unit still accounted for?

import { check } from 'k6';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';

import {
  crash, makeOrder, purchase, readAudit, readLedger, reset, uniqueProduct,
} from './lib/client.js';
import { milliseconds, text, wholeNumber } from './lib/config.js';
import { statistic } from './lib/facts.js';
import {
  allOf, countLedger, countPurchase, ledgerThresholds, openLoadThresholds, reportOnly, series,
} from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { requireStrategy } from './lib/strategies.js';
import { summaryOfOne } from './lib/summary.js';
import { ms } from './lib/text.js';

const LOCK = text('LOCK', 'safe');
const STEP = text('STEP', 'after-acquire');
const TTL_MS = milliseconds('TTL', '2s');
// What an expired lock may take to be noticed: a poll, a purchase, and a machine that is busy.
const SLACK_MS = milliseconds('SLACK', '1s');
const CRASHES = wholeNumber('CRASHES', 3, 1, 100);
const RATE = wholeNumber('RATE', 30, 1, 10000);
const VUS = wholeNumber('VUS', Math.max(10, RATE), 1, 10000);
const STOCK = wholeNumber('STOCK', 1e6, 1, 1e9);
const BEFORE_S = 1;
// Long enough to see the others blocked, and going on.
const DURATION_S = BEFORE_S + Math.ceil(TTL_MS / 1000) + 2;

/** From a crash to the next purchase that got the lock. */
const recoveryTime = new Trend('recovery_time', true);
const recoveries = new Counter('recoveries');

const members = { lock_strategy: LOCK, ttl: `${TTL_MS}ms`, base: '10ms', max_retries: 1000 };
const BUYERS = makeOrder(members);
// It waits, since a crash needs the lock first.
const CRASHING = makeOrder({ ...members, retry: 'fixed', fault: [`crash@${STEP}`] });
// Gives up when it would be too late.
const NEXT = makeOrder({ ...members, retry: 'fixed', wait: `${TTL_MS + SLACK_MS}ms` });

export const options = {
  ...runOptions,
  scenarios: {
    buyers: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      duration: `${DURATION_S}s`,
      preAllocatedVUs: VUS,
      exec: 'buy',
    },
    crashes: {
      executor: 'per-vu-iterations',
      vus: CRASHES,
      iterations: 1,
      startTime: `${BEFORE_S}s`,
      exec: 'crashAndRecover',
    },
  },
  thresholds: allOf(reportOnly(), openLoadThresholds, ledgerThresholds(CRASHES), {
    // `recovery_time` passes when nothing was measured.
    recoveries: [`count==${CRASHES}`],
    recovery_time: [`max<=${TTL_MS + SLACK_MS}`],
    [series('purchases', { scenario: 'buyers', outcome: 'sold' })]: ['count>0'],
  }),
};

export function setup() {
  requireStrategy(LOCK);
  const run = uniqueProduct();
  const products = Array.from({ length: CRASHES }, (_, i) => `${run}-${i}`);
  products.forEach((product) => reset(product, STOCK));
  return products;
}

export function buy(products) {
  const product = products[exec.scenario.iterationInTest % CRASHES];
  countPurchase(BUYERS, purchase(BUYERS, product));
}

export function crashAndRecover(products) {
  const product = products[exec.scenario.iterationInTest];
  crash(CRASHING, product);
  const crashedAt = Date.now();
  check(readAudit(product), {
    'ledger is exact while the lock is left behind': ({ ok }) => ok,
  });
  const receipt = purchase(NEXT, product);
  countPurchase(NEXT, receipt);
  if (receipt.outcome === 'sold') {
    recoveries.add(1, NEXT.tags);
    recoveryTime.add(Date.now() - crashedAt, NEXT.tags);
  }
}

export function teardown(products) {
  products.forEach((product) => countLedger(readLedger(product), BUYERS.tags));
}

export function handleSummary(data) {
  const recovered = statistic(data.metrics, 'recoveries', {}, 'count');
  const slowest = recovered > 0 ? statistic(data.metrics, 'recovery_time', {}, 'max') : null;
  return summaryOfOne(data, {
    experiment: `crash-test: ${CRASHES} crashes at ${STEP}, ttl ${TTL_MS} ms, ` +
      `${RATE} purchases/s beside them`,
    lock: LOCK,
    facts: { step: STEP, crashes: CRASHES, recoveries: recovered, recovery_ms_max: slowest },
    more: [
      [],
      ['recoveries', recovered, `of ${CRASHES} crashes`],
      ['recovery max', ms(slowest, ' ms'), `the lock ends after ${TTL_MS} ms`],
    ],
  });
}
