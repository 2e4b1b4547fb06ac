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
export function serverDuration(name, fallback) {
  const value = setting(name, fallback, /^\d+(us|ms|s)?$/, 'a duration such as 250us, 5ms or 2s');
  return /^\d+$/.test(value) ? Number(value) : value;
}

/** A duration in milliseconds, for the scripts that calculate with it and not only send it. */
export function milliseconds(name, fallback) {
  const value = setting(name, fallback, /^[1-9]\d*m?s$/, 'a duration such as 5ms or 2s');
  return parseInt(value, 10) * (value.endsWith('ms') ? 1 : 1000);
}

/** One of a few words. */
export function oneOf(name, words, fallback) {
  const value = __ENV[name] || fallback;
  if (!words.includes(value)) refuse(name, `one of: ${words.join(' ')}`);
  return value;
}

/** Some of a few words, with commas between them, in the order given; undefined when not given. */
export function someOf(name, words) {
  if (!__ENV[name]) return undefined;
  const chosen = __ENV[name].split(',');
  if (chosen.some((it, i) => !words.includes(it) || chosen.indexOf(it) !== i)) {
    refuse(name, `some of ${words.join(',')}, each once, with commas between them`);
  }
  return chosen;
}

/** Any text; the server says what is valid. */
export function text(name, fallback) {
  return setting(name, fallback, /./);
}

function origin(name, fallback, pattern, valid) {
  return setting(name, fallback, pattern, valid).replace(/\/+$/, '');
}

export const BASE_URL = origin(
  'BASE_URL', 'http://127.0.0.1:8080', /^https?:\/\/[^/?#]+\/*$/, 'an http(s) origin, without a path',
);
/** May have a path, since Grafana is often served below one. */
export const GRAFANA_URL = origin(
  'GRAFANA_URL', 'http://127.0.0.1:3000', /^https?:\/\/[^/?#][^?#]*$/, 'an http(s) address',
);
export const RUN_ID_VALID = '1 to 64 of the characters A-Z a-z 0-9 _ . -';
export const RUN_ID_PATTERN = /^[A-Za-z0-9_.-]{1,64}$/;
/** Undefined when not given: run.js then makes one up. */
export const RUN_ID = setting('RUN_ID', undefined, RUN_ID_PATTERN, RUN_ID_VALID);
