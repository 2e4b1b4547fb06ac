// Every metric that the scripts share, and the thresholds over them. Prometheus sees the counters as
// k6_<name>_total.

import { check } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';

/** How the shop decides a purchase. */
const DECIDED = ['sold', 'sold_out', 'busy', 'fenced', 'lost', 'conflict'];
/** Those; `shed`, which was not even tried; and failures, after which nobody knows whether it sold. */
export const OUTCOMES = [...DECIDED, 'shed', 'unavailable', 'error'];
const purchases = new Counter('purchases');
const retries = new Counter('purchase_retries');
/** From wanting the lock to having it or giving up, as the server measured it. */
const wait = new Trend('lock_wait', true);
/** Leases that ended before their purchase was done. */
const ttlViolations = new Counter('ttl_violations');

/** How long after the common start a purchase was sent: the smaller, the harder the race. */
const startDelay = new Trend('start_delay', true);

const ledger = {
  initial: new Counter('units_initial'),
  sold: new Counter('units_sold'),
  oversold: new Counter('units_oversold'),
  lost_updates: new Counter('lost_updates'),
};
export const LEDGER_FACTS = Object.keys(ledger);
const auditsRead = new Counter('audits_read');
const auditsOk = new Counter('audits_ok');
/** Whether a strategy was as exact as it promises. */
const promiseKept = new Rate('promise_kept');
/** Every ledger that there is to read was read. */
const judged = new Counter('judged');
let evidenceShown = 0;

export function countStart(delayMs) {
  startDelay.add(delayMs);
}

/** Counts a purchase, unless k6 broke it off. What only decided ones have is counted for those only. */
export function countPurchase({ tags }, receipt) {
  const { outcome } = receipt;
  if (outcome === null) return;
  const decided = DECIDED.includes(outcome);
  purchases.add(1, { ...tags, outcome });
  if (decided) {
    retries.add(receipt.retries, tags);
    wait.add(receipt.wait_ms, tags);
    ttlViolations.add(receipt.ttl_violated ? 1 : 0, tags);
  }
  check(outcome, { 'purchase was decided': () => decided }, tags);
}

/** Counts what the ledger says of a product. Evidence against it is shown if it `mustBeExact`. */
export function countLedger({ stock, audit }, tags = {}, mustBeExact = true) {
  const missing = LEDGER_FACTS.filter((fact) => !Number.isInteger(stock[fact]));
  if (missing.length > 0) { // their counters would stay at the 0 that the thresholds hope for
    throw new Error(`the ledger of ${stock.product_id} lacks ${missing.join(', ')}`);
  }
  auditsRead.add(1, tags);
  auditsOk.add(audit.ok === true ? 1 : 0, tags);
  LEDGER_FACTS.forEach((fact) => ledger[fact].add(stock[fact], tags));
  check(stock, {
    'stock and audit agree': () => LEDGER_FACTS.every((fact) => stock[fact] === audit[fact]),
  }, tags);
  if (mustBeExact && audit.ok !== true && evidenceShown < 3) { // a broken lock breaks every product alike
    evidenceShown += 1;
    console.error(`audit of ${audit.product_id}: ${JSON.stringify(audit.evidence).slice(0, 500)}`);
  }
}

export function countPromise(kept, tags) {
  promiseKept.add(kept, tags);
}

export function countJudged() {
  judged.add(1);
}

/** The name of a metric, or of its samples with these tags: `purchases{lock:safe,outcome:sold}`. */
export function series(metric, tags = {}) {
  const pairs = Object.entries(tags).map(([tag, value]) => `${tag}:${value}`);
  return pairs.length > 0 ? `${metric}{${pairs.join(',')}}` : metric;
}

/**
 * The ledger of every product must prove that nothing was oversold. A threshold on a metric without
 * samples sees 0 (and passes on a Rate), so `audits_ok` must reach an exact number: it alone fails
 * when teardown never read the ledger.
 */
export function ledgerThresholds(products, tags) {
  return {
    [series('audits_ok', tags)]: [`count==${products}`],
    [series('units_oversold', tags)]: ['count==0'],
    [series('lost_updates', tags)]: ['count==0'],
  };
}

/** What holds for every load that does not wait for answers. */
export const openLoadThresholds = {
  // The samples of an arrival that no VU could take are missing from every other metric.
  dropped_iterations: ['count==0'],
  // The rates below pass when nothing ran: this one does not.
  iterations: ['count>0'],
  checks: ['rate==1'],
  http_req_failed: ['rate==0'],
};

const COUNTERS = [
  'purchases', 'purchase_retries', 'ttl_violations', 'audits_read', 'audits_ok', 'units_initial',
  'units_sold', 'units_oversold', 'lost_updates',
];

/** k6 reports a series only when a threshold names it. These can not fail; see facts.js. */
export function reportOnly(tags) {
  const thresholds = {};
  COUNTERS.forEach((counter) => { thresholds[series(counter, tags)] = ['count>=0']; });
  OUTCOMES.forEach((outcome) => {
    thresholds[series('purchases', { ...tags, outcome })] = ['count>=0'];
  });
  thresholds[series('lock_wait', tags)] = ['max>=0'];
  thresholds[series('http_req_duration', { name: 'purchase', ...tags })] = ['max>=0'];
  return thresholds;
}

/** Thresholds of several kinds over the same series: all of them, since a repeated key is lost. */
export function allOf(...thresholds) {
  const all = {};
  thresholds.forEach((each) => Object.entries(each).forEach(([name, conditions]) => {
    all[name] = [...(all[name] || []), ...conditions];
  }));
  return all;
}
