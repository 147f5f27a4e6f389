// The past of every chart on the page: one request for the host, one window for all charts.

import { ask } from "./api.js";

export const RANGES = [["900", "15 min"], ["3600", "1 h"], ["21600", "6 h"], ["86400", "24 h"], ["604800", "7 d"]];
const MOST_METRICS = 24; // per request, so that the address stays short with many GPUs
const POINTS = 600;

/** The shown span; starts no earlier than history does, so that a young appliance fills its charts. */
export function windowOf(nowSeconds, spanSeconds, firstSeconds) {
  const from = Math.max(nowSeconds - spanSeconds, Math.min(firstSeconds ?? -Infinity, nowSeconds - 120));
  return [from, nowSeconds];
}

/**
 * Fetch the columns of `metrics` over the span; resolves to [{x, stepSeconds, columns: Map(metric -> {mean, min, max})}].
 * `host` is another host's id than the appliance's own.
 */
export async function fetchHistory(metrics, nowSeconds, spanSeconds, signal, host = "") {
  const unique = [...new Set(metrics)];
  const parts = [];
  for (let i = 0; i < unique.length; i += MOST_METRICS) parts.push(unique.slice(i, i + MOST_METRICS));
  const answers = await Promise.all(parts.map((part) => {
    const query = new URLSearchParams({ metrics: part.join(","), from_unix_s: String(nowSeconds - spanSeconds), to_unix_s: String(nowSeconds + 1), max_points: String(POINTS) });
    if (host) query.set("host", host);
    return ask(`/api/appliance/series?${query}`, { signal });
  }));
  return answers.map((answer) => ({
    x: answer.at_unix_s,
    stepSeconds: answer.step_seconds,
    columns: new Map(answer.series.map((one) => [one.metric, one])),
  }));
}

/** Fill one chart from the fetched parts; its metrics may lie in different ones. */
export function fill(chart, metrics, parts, window) {
  const part = parts.find((one) => metrics.some((metric) => one.columns.has(metric)));
  if (!part) {
    chart.setData([], chart.lines.map(() => ({ mean: [], min: [], max: [] })), chart.stepSeconds, window);
    return;
  }
  const empty = { mean: [], min: [], max: [] };
  chart.setData(part.x, metrics.map((metric) => part.columns.get(metric) ?? empty), part.stepSeconds, window);
}
