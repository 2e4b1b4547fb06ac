// The columns from which the scripts that compare make up their tables: a title, and what is in it.

import { ms } from './text.js';

const ledger = (fact) => ({ ledger: read }) => (read ? read[fact] : null);
const latency = (which) => ({ latency_ms: it }) => (it ? ms(it[which]) : null);
const wait = (which) => ({ wait_ms: it }) => (it ? ms(it[which]) : null);

export const purchases = ['purchases', (row) => row.purchases];
export const sold = ['sold', (row) => row.outcomes.sold];
export const soldOut = ['sold out', (row) => row.outcomes.sold_out];
export const busy = ['busy', (row) => row.outcomes.busy];
/** Neither of the three before it. */
export const other = ['other', ({ purchases: all, outcomes }) => (
  all - outcomes.sold - outcomes.sold_out - outcomes.busy
)];
export const oversold = ['oversold', ledger('oversold')];
export const lostUpdates = ['lost', ledger('lost_updates')];
export const ttlViolations = ['ttl viol.', (row) => row.ttl_violations];
export const retries = ['retries', (row) => row.retries_per_purchase];
export const latencies = [
  ['p50 ms', latency('p50')], ['p95 ms', latency('p95')], ['p99 ms', latency('p99')],
];
export const waits = [
  ['wait p50', wait('p50')], ['wait p95', wait('p95')], ['wait max', wait('max')],
];
export const audit = ['audit', ({ ledger: read }) => {
  if (!read) return null;
  return read.audits_ok === read.audits_read ? 'ok' : 'NOT OK';
}];
