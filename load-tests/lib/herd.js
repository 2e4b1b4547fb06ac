// The load of the scripts that compare: each in its turn gets purchases at the same rate, in herds.
// Arrivals that are spread evenly would hardly ever meet; losers who met once are what waiting is about.

import { sleep } from 'k6';

const EVERY_MS = 500;
/** How many buyers come at the same instant. */
export const herdOf = (rate) => Math.max(1, Math.round(rate * EVERY_MS / 1000));

/**
 * One scenario after the other, each tagged with its value, and each with a pause behind it in which
 * the last purchases end, who may wait for `waitMs`: no phase disturbs the next.
 */
export function inTurn(tag, values, { rate, durationS, waitMs }) {
  const pauseMs = waitMs + 1500;
  const scenarios = {};
  values.forEach((value, i) => {
    scenarios[value] = {
      executor: 'constant-arrival-rate',
      rate,
      duration: `${durationS}s`,
      startTime: `${i * (durationS * 1000 + pauseMs)}ms`,
      gracefulStop: `${pauseMs}ms`,
      // Enough if everybody waits as long as allowed: an arrival without a VU is lost to the measurement.
      preAllocatedVUs: Math.ceil(rate * (EVERY_MS + waitMs + 1000) / 1000),
      tags: { [tag]: value },
    };
  });
  return scenarios;
}

/** Waits for the next herd. */
export function joinHerd() {
  sleep((EVERY_MS - Date.now() % EVERY_MS) / 1000);
}
