// The past of one server's charts: one request for all of them.

import { ask } from "./api.js";

/** What can be chosen: [name in the address, label, minutes]. */
export const RANGES = [["15m", "15 min", 15], ["1h", "1 h", 60], ["6h", "6 h", 360], ["24h", "24 h", 1440], ["30d", "30 days", 43200]];

/** The range that the address names, else the first. */
export function rangeOf(hash) {
  return RANGES.find(([name]) => `#${name}` === hash) ?? RANGES[0];
}

/** Fetch a server's points; resolves to {x, stepSeconds, stride, points}, oldest first. */
export async function fetchPoints(server, minutes, signal) {
  // By number: a slug of digits alone would be taken for one.
  const answer = await ask(`/api/metrics/history/?${new URLSearchParams({ server: String(server.id), minutes: String(minutes) })}`, { signal });
  // For a server that is gone or disabled the endpoint answers with another one's past.
  const points = answer.selected_server?.slug === server.slug ? answer.points : [];
  const x = points.map((point) => Date.parse(point.collected_at) / 1000);
  return { x, points, stride: answer.stride, minutes: answer.minutes, stepSeconds: stepOf(x) };
}

/** The usual distance of two points, in seconds. */
export function stepOf(x) {
  const steps = x.slice(1).map((at, i) => at - x[i]).sort((a, b) => a - b);
  return steps.length ? steps[Math.floor(steps.length / 2)] : 2;
}

/** Fill one chart; `valuesOf(point)` gives one value per line. A point has one value: no band around the line. */
export function fillChart(chart, history, valuesOf, window) {
  const rows = history.points.map(valuesOf);
  const columns = chart.lines.map((_, line) => {
    const values = rows.map((row) => row[line]);
    return { mean: values, min: values, max: values };
  });
  chart.setData(history.x, columns, history.stepSeconds, window);
}
