// The server's HTTP contract: the only file that names its routes and fields.

import { sleep } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { BASE_URL } from './config.js';
import { runId } from './run.js';

// Losing the race is a 200 like winning it, so whatever else comes back is a real failure and
// belongs into http_req_failed.
http.setResponseCallback(http.expectedStatuses(200));

const NOT_TAKEN_IN = ['queue-full', 'overload', 'draining'];

// The tag `name` is constant per route: otherwise each product would open time series of its own.
function params(name, tags) {
  const headers = { 'Content-Type': 'application/json', 'X-Run-Id': runId() };
  return { headers, tags: { ...tags, name } };
}

function crashParams(tags) {
  return { ...params('crash', tags), responseCallback: http.expectedStatuses(500) };
}

/** Ends the run with exit code 108 unless the server answered 200. */
function required(response) {
  if (response.status === 0) {
    exec.test.abort(`no answer from ${BASE_URL} (${response.error}): is locklab running there? ` +
      'BASE_URL names another place');
  }
  if (response.status !== 200) {
    exec.test.abort(`${response.request.method} ${response.url} answered ${response.status}: ` +
      `${response.body}`);
  }
  return response;
}

function look(name, path = '') {
  return required(http.get(`${BASE_URL}/${name}${path}`, params(name)));
}

export function listStrategies() {
  return look('strategies').json('strategies');
}

/** The server's own metrics: `read('process_open_fds')` is a number, or null if it has no such. */
export function readMetrics() {
  const { body } = look('metrics');
  return (series) => {
    const line = body.split('\n').find((it) => it.startsWith(`${series} `));
    return line === undefined ? null : Number(line.slice(series.length));
  };
}

/** A name no other run uses, so that parallel and repeated runs never share stock or history. */
export function uniqueProduct() {
  return `k6-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
}

export function reset(product, stock) {
  const body = JSON.stringify({ product_id: product, stock });
  required(http.post(`${BASE_URL}/reset`, body, params('reset')));
}

/** Opens this VU's connection, so that its purchase does not wait for a TCP handshake. */
export function connect() {
  http.get(`${BASE_URL}/livez`, params('livez'));
}

/**
 * What is bought over and over: the members of the request, where undefined ones are not sent and
 * `{product}` stands for the product. Its tags are those of all its samples.
 */
export function makeOrder(members, tags = {}) {
  // Serialised once, since that would cost the load generator a tenth of its speed.
  const body = JSON.stringify({ product_id: members.items ? undefined : '{product}', ...members });
  const { lock_strategy: lock, retry = 'none' } = members;
  return { body, tags: { lock, retry, ...tags } };
}

/** What makes an order wait: time ends it, and not the number of tries. */
export function patience({ waitMs, baseMs, capMs }) {
  return { wait: `${waitMs}ms`, base: `${baseMs}ms`, cap: `${capMs}ms`, max_retries: 1000 };
}

/**
 * Buys, and returns what the server said: `outcome`, and what `decided` reads if it was decided.
 * `latency_ms` is k6's own. The outcome is null if k6 broke the purchase off, for the run was over.
 */
export function purchase(order, product) {
  // In the first purchase of this VU, because only then is the run's id known.
  order.params = order.params || params('purchase', order.tags);
  const response = send(order, product, order.params);
  const receipt = response.status === 200 ? decided(response) : refusal(response);
  if (response.status >= 400 && response.status < 500 && response.status !== 429) {
    required(response); // every other purchase would be refused for the same reason
  }
  receipt.latency_ms = response.timings.duration;
  return receipt;
}

/** Buys with an order whose fault is a crash, and ends the run unless that is what happened. */
export function crash(order, product) {
  const response = send(order, product, crashParams(order.tags));
  if (problemOf(response).kind !== 'crashed') {
    exec.test.abort(`the purchase did not crash, but answered ${response.status}: ${response.body}`);
  }
}

function send(order, product, how) {
  return http.post(`${BASE_URL}/purchase`, order.body.replace(/\{product\}/g, product), how);
}

function problemOf(response) {
  try {
    const { type, outcome } = response.json();
    return { kind: String(type).split(':').pop(), outcome };
  } catch (_) { // no answer, or one that is not the server's own but of a proxy before it
    return {};
  }
}

/** One by one: k6 then builds no object from the whole body, which costs more. */
function decided(response) {
  const receipt = {};
  ['outcome', 'retries', 'wait_ms', 'ttl_violated'].forEach((member) => {
    receipt[member] = response.json(member);
  });
  return receipt;
}

function refusal(response) {
  if (response.error === 'context canceled') return { outcome: null };
  const { kind, outcome } = problemOf(response);
  if (NOT_TAKEN_IN.includes(kind)) return { outcome: 'shed' };
  return { outcome: outcome === 'unavailable' ? 'unavailable' : 'error' };
}

/** The verdict over what happened so far. */
export function readAudit(product) {
  return look('audit', `/${product}`).json();
}

/**
 * What the ledger says when all is over: `stock` has the numbers, `audit` the verdict over the
 * recorded events. They differ while the server carries out purchases that k6 broke off.
 */
export function readLedger(product) {
  for (let looks = 1; ; looks += 1) {
    const stock = look('stock', `/${product}`).json();
    const audit = readAudit(product);
    if (stock.sold === audit.sold || looks === 20) return { stock, audit };
    sleep(0.5);
  }
}
