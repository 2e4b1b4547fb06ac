// A common start: everybody connects first, and then buys at the same instant.

import { sleep } from 'k6';

import { connect } from './client.js';
import { countStart } from './metrics.js';

/** When so many VUs have had the time to connect; the summary tells how far apart they were. */
export function startFor(vus) {
  return Date.now() + 1000 + 5 * vus;
}

export function waitFor(startAt) {
  connect();
  sleep(Math.max(0, startAt - Date.now()) / 1000);
  countStart(Date.now() - startAt);
}
