// A time chart on uPlot: lines with the band between minimum and maximum, so that a peak shows at every zoom.

import { el, text } from "./dom.js";
import { bytes, celsius, clock, known, percent, rate, watts } from "./format.js";

// A plain script that the page loads before the modules: a third of the size of uPlot's own module.
const { uPlot } = window;

const POWERS_OF_TWO = Array.from({ length: 61 }, (_, power) => 2 ** power);
const MOST_IN_CAPTION = 3; // with more lines, each value stands beside its line's name
const DAY_TICK_SECONDS = 82800; // the shortest day, when the clocks go forward
const GAP_STEPS = 3.5; // samples missing for longer than this many steps are a gap, not a line

function roundBytes(value) {
  return bytes(value).replace(".0 ", " ");
}

/** How each kind of value is scaled and written. */
const KINDS = {
  percent: { show: percent, axis: (value) => `${value}%`, range: () => [0, 100] },
  bytes: { show: bytes, axis: roundBytes, incrs: POWERS_OF_TWO, least: 1024 ** 2 },
  rate: { show: rate, axis: (value) => (value ? `${roundBytes(value)}/s` : "0"), incrs: POWERS_OF_TWO, least: 64 * 1024 },
  count: { show: (value) => (known(value) ? String(Math.round(value)) : "n/a"), axis: String, least: 1, incrs: POWERS_OF_TWO },
  watts: { show: watts, axis: (value) => `${value} W`, least: 10 },
  celsius: { show: celsius, axis: (value) => `${value} °C`, least: 50 },
};

const charts = new Set();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function translucent(hex, alpha) {
  const value = Number.parseInt(hex.slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${alpha})`;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of charts) chart.rebuild();
});

/** The places of the values that have none beside them. */
export function alone(values) {
  return values.flatMap((value, i) => (known(value) && !known(values[i - 1]) && !known(values[i + 1]) ? [i] : []));
}

const resized = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) target.chart?.resize(contentRect.width);
});

export class Chart {
  /** `lines`: [{label, colour: "c1"}, ...]; `kind`: a key of KINDS; `ceiling()`: the least top of the y axis, or null. */
  constructor(title, kind, lines, ceiling = () => null) {
    Object.assign(this, { title, lines, ceiling });
    this.kind = KINDS[kind];
    this.x = [];
    this.columns = lines.map(() => ({ mean: [], min: [], max: [] }));
    this.window = [0, 1];
    this.stepSeconds = 2;
    this.at = el("span", { class: "at" });
    this.none = el("p", { class: "none" }, "no values yet");
    this.plot = el("div", { class: "plot", role: "img" });
    this.keys = lines.map((line) => el("span", { class: `key ${line.colour}` }, line.label));
    this.root = el("figure", { class: "chart" },
      el("figcaption", { class: lines.length > MOST_IN_CAPTION ? "many" : null }, this.keys, this.at),
      this.plot, this.none);
    this.plot.chart = this;
    charts.add(this);
    resized.observe(this.plot);
  }

  close() {
    charts.delete(this);
    resized.unobserve(this.plot);
    this.uplot?.destroy();
    this.uplot = null;
  }

  resize(width) {
    if (width < 40) return;
    if (this.uplot) {
      if (Math.abs(this.uplot.width - width) >= 1) this.uplot.setSize({ width, height: 116 });
    } else {
      this.build(width);
    }
  }

  rebuild() {
    const width = this.uplot?.width;
    this.uplot?.destroy();
    this.uplot = null;
    if (width) this.build(width);
  }

  build(width) {
    const series = [{}];
    const bands = [];
    for (const line of this.lines) {
      const stroke = colour(`--${line.colour}`);
      const middle = series.length;
      // A line needs two points: one that stands alone is drawn as a dot.
      series.push({ label: line.label, stroke, width: 1.6, points: { show: true, size: 4, width: 0, fill: stroke, filter: (plot, at) => alone(plot.data[at]) } });
      series.push({ stroke: "transparent", width: 0, points: { show: false } });
      series.push({ stroke: "transparent", width: 0, points: { show: false } });
      bands.push({ series: [middle + 2, middle + 1], fill: translucent(stroke, 0.24) });
    }
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const kind = this.kind;
    const options = {
      width, height: 116, series, bands, legend: { show: false }, padding: [8, 22, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 }, sync: { key: "overview" } },
      scales: {
        x: { time: true, range: () => this.window },
        y: { range: (_, low, high) => (kind.range ? kind.range() : [0, this.top(high)]) },
      },
      axes: [
        { ...axis, size: 24, gap: 4, space: 68, values: xLabels },
        { ...axis, size: kind.incrs ? 66 : 46, gap: 4, space: 28, values: (_, splits) => splits.map(kind.axis), ...(kind.incrs ? { incrs: kind.incrs } : {}) },
      ],
      hooks: { setCursor: [(plot) => this.showAt(plot.cursor.idx)] },
    };
    this.uplot = new uPlot(options, this.data(), this.plot);
    this.showAt(null);
  }

  top(high) {
    const wanted = Math.max(known(high) ? high * 1.08 : 0, this.ceiling() ?? 0, this.kind.least ?? 1);
    return known(wanted) && wanted > 0 ? wanted : 1;
  }

  /** Replace everything; `columns[i]` are {mean, min, max} of line i, `null` where nothing was read. */
  setData(x, columns, stepSeconds, window) {
    this.stepSeconds = stepSeconds;
    this.window = window;
    this.x = [];
    this.columns = this.lines.map(() => ({ mean: [], min: [], max: [] }));
    x.forEach((at, i) => this.append(at, columns.map((column) => ({ mean: column.mean[i], min: column.min[i], max: column.max[i] }))));
    this.draw();
  }

  /** Add one reading and move the window to it. */
  push(at, values, window) {
    if (this.x.length && at <= this.x[this.x.length - 1]) return;
    this.append(at, values.map((value) => ({ mean: value, min: value, max: value })));
    this.window = window;
    const old = this.x.findIndex((value) => value >= window[0] - 2 * this.stepSeconds);
    if (old > 64) {
      this.x.splice(0, old);
      for (const column of this.columns) for (const part of [column.mean, column.min, column.max]) part.splice(0, old);
    }
    this.draw();
  }

  append(at, values) {
    const before = this.x[this.x.length - 1];
    if (before !== undefined && at - before > Math.max(GAP_STEPS * this.stepSeconds, 5)) this.add((before + at) / 2, []);
    this.add(at, values);
  }

  add(at, values) {
    this.x.push(at);
    this.columns.forEach((column, i) => {
      for (const part of ["mean", "min", "max"]) column[part].push(known(values[i]?.[part]) ? values[i][part] : null);
    });
  }

  /** Move the window without a reading, so that silence is seen as a gap. */
  setWindow(window) {
    this.window = window;
    this.draw();
  }

  data() {
    return [this.x, ...this.columns.flatMap((column) => [column.mean, column.min, column.max])];
  }

  draw() {
    this.none.hidden = this.columns.some((column) => column.mean.some((value) => value !== null));
    if (this.uplot && !document.hidden) this.uplot.setData(this.data());
    if (!this.uplot || this.uplot.cursor.idx === null || this.uplot.cursor.idx === undefined) this.showAt(null);
  }

  /** Write one value per line: after `head`, or beside the lines' names where there are many. */
  caption(head, values) {
    const many = this.lines.length > MOST_IN_CAPTION;
    text(this.at, many ? head : [head, values.join(" · ")].join(head === "peak" ? " " : "  ").trim());
    if (many) this.keys.forEach((key, i) => text(key, [this.lines[i].label, values[i]].filter(Boolean).join(" ")));
  }

  /** Write the values under the pointer; without one, the newest and the highest, which also describe the picture. */
  showAt(index) {
    if (index !== null && index !== undefined && this.x[index] !== undefined) {
      const words = this.columns.map((column) => {
        const { mean, min, max } = { mean: column.mean[index], min: column.min[index], max: column.max[index] };
        const spread = known(max) && known(min) && this.kind.show(max) !== this.kind.show(min);
        return this.kind.show(mean) + (spread ? ` (max ${this.kind.show(max)})` : "");
      });
      this.caption(clock(this.x[index]), words);
      return;
    }
    const peaks = this.columns.map((column) => column.max.reduce((high, value) => (value !== null && (high === null || value > high) ? value : high), null));
    const words = peaks.some((peak) => peak !== null);
    this.caption(words ? "peak" : "", words ? peaks.map((peak) => this.kind.show(peak)) : []);
    const label = `${this.title}: ${this.lines.map((line, i) => `${line.label} ${words ? `peak ${this.kind.show(peaks[i])}` : "no values"}`).join(", ")}`;
    if (this.plot.getAttribute("aria-label") !== label) this.plot.setAttribute("aria-label", label);
  }
}

/** Times on the x axis: with seconds, minutes or days as the distance of the ticks asks for. */
function xLabels(_, splits) {
  const step = splits.length > 1 ? splits[1] - splits[0] : 60;
  return splits.map((at) => {
    const date = new Date(at * 1000);
    const two = (value) => String(value).padStart(2, "0");
    const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (step < 60) return `${time}:${two(date.getSeconds())}`;
    const midnight = date.getHours() === 0 && date.getMinutes() === 0;
    return step >= DAY_TICK_SECONDS || midnight ? `${date.getDate()} ${date.toLocaleString([], { month: "short" })}` : time;
  });
}
