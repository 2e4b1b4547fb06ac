// What the scripts have in common that offer purchases at a rate, over several products.

import exec from 'k6/execution';
import { Gauge } from 'k6/metrics';

import { makeOrder, purchase, readLedger, reset, uniqueProduct } from './client.js';
import { oneOf, serverDuration, text, wholeNumber } from './config.js';
import { countLedger, countPurchase } from './metrics.js';
import { POLICIES } from './policies.js';
import { requireStrategy } from './strategies.js';

export const LOCK = text('LOCK', 'safe');

const STOCK = wholeNumber('STOCK', 1e6, 1, 1e9);
const MEMBERS = {
  lock_strategy: LOCK,
  delay: serverDuration('DELAY'),
  ttl: serverDuration('TTL'),
  retry: oneOf('RETRY', POLICIES, 'none'),
};

/** Purchases per second that are offered now. */
const arrivalRate = new Gauge('arrival_rate');

export function makeArrival(tags) {
  return makeOrder(MEMBERS, tags);
}

/**
 * All VUs are made beforehand, since making one during the run disturbs what is measured. The default
 * carries the rate up to so many seconds a purchase; beyond that arrivals are dropped: a failed run.
 */
export function vusFor(rate, purchaseS = 0.2) {
  return wholeNumber('VUS', Math.max(10, Math.ceil(rate * purchaseS)), 1, 10000);
}

/** Several products, to measure a lock and not one hot row. `open` is for setup. */
export function makeShop({ products } = { products: 100 }) {
  const count = wholeNumber('PRODUCTS', products, 1, 1000);
  return {
    count,
    about: `${count} products of ${STOCK}`,
    open() {
      requireStrategy(LOCK);
      const run = uniqueProduct();
      const names = Array.from({ length: count }, (_, i) => `${run}-${i}`);
      names.forEach((product) => reset(product, STOCK));
      return names;
    },
    /** Buys from the products in turn, not at random: each gets the same load in each run. */
    buy(order, names) {
      const receipt = purchase(order, names[exec.scenario.iterationInTest % count]);
      countPurchase(order, receipt);
      return receipt;
    },
    /** Reads every ledger. */
    close(order, names) {
      names.forEach((product) => countLedger(readLedger(product), order.tags));
    },
  };
}

/** How long the scenario has been running, in seconds. */
export function elapsed() {
  return (Date.now() - exec.scenario.startTime) / 1000;
}

export function countRate(rate) {
  arrivalRate.add(rate);
}
