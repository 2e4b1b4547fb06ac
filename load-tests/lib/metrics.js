// Every metric of our own and the thresholds that both tests share.

import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';

/** How the shop decides a purchase. */
const DECIDED = ['sold', 'sold_out', 'busy', 'fenced', 'lost', 'conflict'];
/** Those, and how a purchase fails: nobody knows whether it sold. */
export const OUTCOMES = [...DECIDED, 'unavailable', 'error'];
const purchases = new Counter('purchases');

/** How long after the common start a purchase was sent: the smaller, the harder the race. */
const startDelay = new Trend('start_delay', true);

const ledger = {
  initial: new Counter('units_initial'),
  sold: new Counter('units_sold'),
  oversold: new Counter('units_oversold'),
  lost_updates: new Counter('lost_updates'),
};
const auditsRead = new Counter('audits_read');
const auditsOk = new Counter('audits_ok');
let evidenceShown = 0;

export function countStart(delayMs) {
  startDelay.add(delayMs);
}

export function countPurchase(outcome) {
  purchases.add(1, { outcome });
  check(outcome, {
    'purchase was decided': () => DECIDED.includes(outcome),
  });
}

export function countLedger({ stock, audit }) {
  const facts = Object.keys(ledger);
  const missing = facts.filter((fact) => !Number.isInteger(stock[fact]));
  if (missing.length > 0) { // their counters would stay at the 0 that the thresholds hope for
    throw new Error(`the ledger of ${stock.product_id} lacks ${missing.join(', ')}`);
  }
  auditsRead.add(1);
  auditsOk.add(audit.ok === true ? 1 : 0);
  facts.forEach((fact) => ledger[fact].add(stock[fact]));
  check(stock, {
    'stock and audit agree': () => facts.every((fact) => stock[fact] === audit[fact]),
  });
  if (audit.ok !== true && evidenceShown < 3) { // a broken lock breaks every product alike
    evidenceShown += 1;
    console.error(`audit of ${audit.product_id}: ${JSON.stringify(audit.evidence).slice(0, 500)}`);
  }
}

/**
 * The ledger of every product must prove that nothing was oversold. A threshold on a metric without
 * samples sees 0 (and passes on a Rate), so `audits_ok` must reach an exact number: it alone fails
 * when teardown never read the ledger.
 */
export function ledgerThresholds(products) {
  return {
    audits_ok: [`count==${products}`],
    units_oversold: ['count==0'],
    lost_updates: ['count==0'],
  };
}

/** k6 reports a tagged series only when a threshold names it; these can not fail. */
export const reportOnly = {
  'http_req_duration{name:purchase}': ['max>=0'],
};
for (const outcome of OUTCOMES) {
  reportOnly[`purchases{outcome:${outcome}}`] = ['count>=0'];
}

/** k6's default trend statistics lack p(99). */
export const summaryTrendStats = ['avg', 'min', 'med', 'max', 'p(95)', 'p(99)'];
