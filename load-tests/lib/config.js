// What the person asked for, from `-e NAME=value` or the environment. A value that makes no sense
// stops the run here, before any request is sent: a typo must not become a different experiment.
// The names avoid k6's own (K6_VUS, K6_DURATION, …): those throw `scenarios` away.

function refuse(name, valid) {
  throw new Error(`${name} must be ${valid}, not "${__ENV[name]}"`);
}

/** The value as text; an empty variable counts as not given. */
function setting(name, fallback, pattern, valid) {
  const value = __ENV[name] || fallback;
  if (value !== undefined && !pattern.test(value)) refuse(name, valid);
  return value;
}

/** A whole number; `1e6` is one too. */
export function wholeNumber(name, fallback, min, max) {
  const valid = `a whole number from ${min} to ${max}`;
  const number = Number(setting(name, String(fallback), /^\d+(e\d)?$/, valid));
  if (number < min || number > max) refuse(name, valid);
  return number;
}

/** A duration of whole seconds or minutes, in seconds. */
export function seconds(name, fallback) {
  const value = setting(name, fallback, /^[1-9]\d*[sm]$/, 'a duration such as 30s or 5m');
  return parseInt(value, 10) * (value.endsWith('m') ? 60 : 1);
}

/** A duration that is the server's to read: undefined when not given, so that its default holds. */
function serverDuration(name) {
  const value = setting(name, undefined, /^\d+(us|ms|s)?$/, 'a duration such as 250us, 5ms or 2s');
  return /^\d+$/.test(value) ? Number(value) : value;
}

export const BASE_URL = setting(
  'BASE_URL', 'http://127.0.0.1:8080', /^https?:\/\/[^/]+\/*$/, 'an http(s) origin, without a path',
).replace(/\/+$/, '');
export const LOCK = setting('LOCK', 'safe', /./); // setup asks the server which names it knows
export const DELAY = serverDuration('DELAY');
export const TTL = serverDuration('TTL');
export const SUMMARY_JSON = setting('SUMMARY_JSON', undefined, /./);
