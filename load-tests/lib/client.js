// The server's HTTP contract: the only file that names its routes and fields.

import exec from 'k6/execution';
import http from 'k6/http';

import { BASE_URL, DELAY, LOCK, TTL } from './config.js';

// Losing the race is a 200 like winning it, so whatever else comes back is a real failure and
// belongs into http_req_failed.
http.setResponseCallback(http.expectedStatuses(200));

// The tag `name` is constant per route: otherwise each product would open time series of its own.
function params(name) {
  return { headers: { 'Content-Type': 'application/json' }, tags: { name } };
}
const PURCHASE = params('purchase');
// Serialised once, since that would cost the load generator a tenth of its speed. Values that are
// undefined are not sent.
const ORDER = JSON.stringify({
  product_id: '{product}', quantity: 1, lock_strategy: LOCK, delay: DELAY, ttl: TTL,
});

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

/** Ends the run unless this server can sell under LOCK: it must not fall back to another lock. */
export function requireLock() {
  const { strategies } = required(http.get(`${BASE_URL}/strategies`, params('strategies'))).json();
  const strategy = strategies.find(({ name }) => name === LOCK);
  if (!strategy) {
    const names = strategies.map(({ name }) => name).join(' ');
    exec.test.abort(`LOCK must be one of: ${names}; not "${LOCK}"`);
  }
  if (!strategy.available) {
    exec.test.abort(`LOCK=${LOCK} is not available on this server: ${strategy.reason}`);
  }
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

/** Buys one unit and returns the outcome. */
export function purchase(product) {
  const body = ORDER.replace('{product}', product);
  const response = http.post(`${BASE_URL}/purchase`, body, PURCHASE);
  if (response.status === 200) {
    return response.json('outcome'); // one field: k6 then builds no object from the whole body
  }
  if (response.status >= 400 && response.status < 500) {
    required(response); // every other purchase would be refused for the same reason
  }
  return response.status === 503 ? 'unavailable' : 'error';
}

/** What the ledger says: `stock` has the numbers, `audit` the verdict over the recorded events. */
export function readLedger(product) {
  return {
    stock: required(http.get(`${BASE_URL}/stock/${product}`, params('stock'))).json(),
    audit: required(http.get(`${BASE_URL}/audit/${product}`, params('audit'))).json(),
  };
}
