// A report as JUnit XML, for CI servers: one test case per threshold.

import { escaped } from './html.js';
import { NOTHING_MEASURED, cellOf } from './text.js';

/** XML 1.0 has no way to write most control characters. */
function xml(value) {
  // eslint-disable-next-line no-control-regex
  return escaped(value).replace(/[\u0000-\u001f]/g, ' ');
}

function caseOf({ experiment }, name, element = '') {
  return `    <testcase classname="${xml(experiment)}" name="${xml(name)}">${element}</testcase>`;
}

export function junitOf({ report, table }) {
  const { thresholds, experiment } = report;
  const cases = table ? thresholds.map(({ metric, threshold, ok, value }) => caseOf(
    report,
    `${metric} ${threshold}`,
    ok ? '' : `<failure message="was ${xml(value)}"/>`,
  )) : [caseOf(report, 'run', `<error message="${xml(NOTHING_MEASURED)}"/>`)];
  const counts = [
    `tests="${cases.length}"`,
    `failures="${table ? report.crossed_thresholds.length : 0}"`,
    `errors="${table ? 0 : 1}"`,
    `time="${cellOf(report.duration_ms / 1000)}"`,
  ].join(' ');
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites ${counts}>
  <testsuite name="${xml(experiment)}" ${counts}>
    <properties>
      <property name="run_id" value="${xml(report.run_id)}"/>
      <property name="grafana_url" value="${xml(report.grafana_url)}"/>
      <property name="base_url" value="${xml(report.base_url)}"/>
    </properties>
${cases.join('\n')}
  </testsuite>
</testsuites>
`;
}
