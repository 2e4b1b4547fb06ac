// The same load for a long time: does the server's memory stay flat, does it leak files, and is every
// unit still accounted for, not only at the end?

import { check, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Gauge } from 'k6/metrics';

import { LOCK, elapsed, makeArrival, makeShop, vusFor } from './lib/arrivals.js';
import { readAudit, readMetrics } from './lib/client.js';
import { seconds, wholeNumber } from './lib/config.js';
import { statistic } from './lib/facts.js';
import { allOf, ledgerThresholds, openLoadThresholds, reportOnly } from './lib/metrics.js';
import { runOptions } from './lib/run.js';
import { summaryOfOne } from './lib/summary.js';

const RATE = wholeNumber('RATE', 100, 1, 1e5);
const DURATION_S = seconds('DURATION', '10m');
/** How much the memory may grow, and how many files may be added, after the first third of the run. */
const GROWTH_MB = wholeNumber('GROWTH_MB', 20, 1, 1e5);
const GROWTH_FDS = wholeNumber('GROWTH_FDS', 50, 1, 1e5);
const LOOK_EVERY_S = Math.max(1, Math.floor(DURATION_S / 100));
const MB = 1024 * 1024;
// So few that their histories are full after the first third.
const SHOP = makeShop({ products: 10 });
const ORDER = makeArrival();

/**
 * Growth is from the highest value of the first third, in which buffers fill up and histories become
 * long, to the latest. Without samples, its threshold passes: unknown is not failed, but shown.
 */
const WATCHED = [
  {
    series: 'process_resident_memory_bytes',
    now: new Gauge('server_resident_memory_bytes'),
    growth: new Gauge('server_memory_growth_bytes'),
    compared: new Counter('server_memory_compared'),
  },
  {
    series: 'process_open_fds',
    now: new Gauge('server_open_fds'),
    growth: new Gauge('server_open_fds_growth'),
    compared: new Counter('server_open_fds_compared'),
  },
];
const highest = {};

export const options = {
  ...runOptions,
  scenarios: {
    arrivals: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      duration: `${DURATION_S}s`,
      // In a long time there is a second in which nothing moves.
      preAllocatedVUs: vusFor(RATE, 1),
    },
    watch: { // one VU, which remembers what was highest
      executor: 'constant-vus', vus: 1, duration: `${DURATION_S}s`, exec: 'watch',
    },
  },
  thresholds: allOf(reportOnly(), openLoadThresholds, ledgerThresholds(SHOP.count), {
    'iterations{scenario:watch}': ['count>0'],
    server_memory_compared: ['count>=0'],
    server_open_fds_compared: ['count>=0'],
    server_memory_growth_bytes: [`value<${GROWTH_MB * MB}`],
    server_open_fds_growth: [`value<${GROWTH_FDS}`],
  }),
};

export function setup() {
  const read = readMetrics();
  WATCHED.filter(({ series }) => read(series) === null).forEach(({ series }) => {
    console.warn(`this server does not tell ${series}: whether it stays flat will not be known`);
  });
  return SHOP.open();
}

export default function buy(products) {
  SHOP.buy(ORDER, products);
}

export function watch(products) {
  const read = readMetrics();
  WATCHED.forEach(({ series, now, growth, compared }) => {
    const value = read(series);
    if (value === null) return;
    now.add(value);
    if (highest[series] === undefined || elapsed() < DURATION_S / 3) {
      highest[series] = Math.max(highest[series] || 0, value);
    } else {
      growth.add(value - highest[series]);
      compared.add(1);
    }
  });
  const product = products[exec.scenario.iterationInTest % products.length];
  check(readAudit(product), { 'ledger is exact all along': ({ ok }) => ok });
  sleep(LOOK_EVERY_S);
}

export function teardown(products) {
  SHOP.close(ORDER, products);
}

export function handleSummary(data) {
  const last = (name) => statistic(data.metrics, name, {}, 'value');
  const compared = (name) => statistic(data.metrics, `${name}_compared`, {}, 'count') > 0;
  const facts = {
    memory_bytes: last('server_resident_memory_bytes'),
    memory_growth_bytes: compared('server_memory') ? last('server_memory_growth_bytes') : null,
    open_fds: last('server_open_fds'),
    open_fds_growth: compared('server_open_fds') ? last('server_open_fds_growth') : null,
  };
  const mb = (bytes) => (bytes === null ? null : `${(bytes / MB).toFixed(1)} MB`);
  return summaryOfOne(data, {
    experiment: `soak-test: ${RATE} purchases/s for ${DURATION_S} s, ${SHOP.about}`,
    lock: LOCK,
    facts,
    more: [
      [],
      ['memory', mb(facts.memory_bytes), 'of the server, resident, at the end'],
      ['memory growth', mb(facts.memory_growth_bytes), 'since the first third of the run'],
      ['open files', facts.open_fds, 'at the end'],
      ['open files growth', facts.open_fds_growth, 'since the first third of the run'],
    ],
  });
}
