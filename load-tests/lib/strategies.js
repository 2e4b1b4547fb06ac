// The strategies that are compared. k6 wants every series of a summary named before the first
// request, so they are listed here; setup holds the list against the server's.

import exec from 'k6/execution';

import { listStrategies } from './client.js';
import { someOf } from './config.js';

const KNOWN = [
  'none', 'mutex', 'naive', 'safe', 'watchdog', 'fenced', 'redlock', 'etcd', 'zookeeper',
  'postgres-advisory', 'mysql-lock', 'layered', 'optimistic', 'atomic', 'queue', 'postgres-row',
  'mysql-row', 'postgres-optimistic', 'mysql-optimistic', 'postgres-atomic', 'mysql-atomic',
];
const chosen = someOf('LOCKS', KNOWN);

/** The strategies that LOCKS names; all of them, or those of the script, if it names none. */
export function chosenLocks(fallback = KNOWN) {
  return chosen || fallback;
}

/** Ends the run unless the server can sell under this strategy: it must not fall back to another. */
export function requireStrategy(name) {
  const strategies = listStrategies();
  const strategy = strategies.find((it) => it.name === name);
  if (!strategy) {
    const names = strategies.map((it) => it.name).join(' ');
    exec.test.abort(`LOCK must be one of: ${names}; not "${name}"`);
  }
  if (!strategy.available) {
    exec.test.abort(`LOCK=${name} is not available on this server: ${strategy.reason}`);
  }
  return strategy;
}

/** These as the server describes them. Those that are not available there are left out of the run. */
export function requireStrategies(locks) {
  const offered = listStrategies();
  const missing = locks.filter((name) => !offered.some((it) => it.name === name));
  const unknown = offered.map((it) => it.name).filter((name) => !KNOWN.includes(name));
  if (missing.length > 0) {
    exec.test.abort(`this server has no strategy ${missing.join(', ')}: name others with LOCKS`);
  }
  if (!chosen && unknown.length > 0) {
    exec.test.abort(`this server has strategies that are not compared: ${unknown.join(', ')}. ` +
      'Add them to load-tests/lib/strategies.js, or name the others with LOCKS');
  }
  const strategies = locks.map((name) => offered.find((it) => it.name === name));
  strategies.filter((it) => !it.available).forEach(({ name, reason }) => {
    console.warn(`${name} is not available on this server, so it is left out: ${reason}`);
  });
  if (!strategies.some((it) => it.available)) {
    exec.test.abort('none of these strategies is available on this server');
  }
  return strategies.map(({ name, expected, available, reason }) => (
    { name, expected, available, reason }
  ));
}

/**
 * Whether a strategy promises to be exact, from its `expected`, when nothing goes wrong, connections
 * to databases included, and there is one server.
 */
export function promisesExact({ name, expected }, { workOutlastsTtl }) {
  if (expected === 'oversells') return false;
  if (/work > ttl; stuck|while work < ttl/.test(expected)) return !workOutlastsTtl;
  if (expected.startsWith('exact')) return true;
  return exec.test.abort(`nobody told load-tests/lib/strategies.js what ${name} promises that ` +
    `is expected to be: ${expected}`);
}
