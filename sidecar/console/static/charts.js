// The graphs. Each is a figure with a legend in text; what a screen reader needs is in the legend, not in the canvas.

/* global uPlot */
import { count, percent, seconds } from "/console/format.js";
import { mark, node, set } from "/console/parts.js";

const STEP = 5;
const DECADES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000];
const all = [];

export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name.replaceAll("_", "-")}`).trim();
}

class Chart {
  constructor(place, title, hint, names, how) {
    Object.assign(this, { names, how, totals: {}, plot: null, data: null });
    this.values = {};
    const legend = node("ul", { class: "legend" });
    for (const name of names) {
      const value = node("span", { class: "value" });
      const item = node("li", {}, node("span", { class: `swatch ${how.dash?.[name] || ""}`, "data-color": name, "aria-hidden": "true" }));
      item.append(node("span", {}, name.replaceAll("_", " ")), value);
      this.values[name] = { item, value };
      legend.append(item);
    }
    this.canvas = node("div", { class: "plot" });
    const heading = node("h2", {}, title);
    place.append(node("figure", { class: "card" }, node("figcaption", {}, heading, node("p", { class: "note" }, hint)), this.canvas, legend));
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    all.push(this);
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height() });
  }

  height() {
    return 190;
  }

  show(points, from, to, bin, totals) {
    this.totals = totals;
    this.data = this.how.lines ? this.lines(points) : this.stacked(points, from, to, bin);
    this.range = [from, to];
    if (!this.plot) this.make();
    else this.plot.setData(this.data.drawn, false);
    this.plot.batch(() => {
      this.plot.setScale("x", { min: from, max: to });
      this.plot.setScale("y", this.extent());
    });
    this.legend(null);
  }

  lines(points) {
    const xs = [];
    const drawn = this.names.map(() => []);
    let last = null;
    for (const point of points) {
      const values = this.how.of(point);
      if (!values) continue;
      if (last !== null && point.at - last > 60) {
        xs.push(last + STEP * 2);
        drawn.forEach((line) => line.push(null));
      }
      last = point.at;
      xs.push(point.at + STEP);
      drawn.forEach((line, index) => line.push(values[index]));
    }
    return { drawn: [xs, ...drawn], plain: drawn };
  }

  stacked(points, from, to, bin) {
    const first = Math.ceil(from / bin) * bin;
    const size = Math.max(1, Math.floor((to - first) / bin) + 1);
    const xs = Array.from({ length: size }, (_, index) => first + index * bin + bin / 2);
    const plain = this.names.map(() => new Array(size).fill(0));
    const whole = new Array(size).fill(0);
    for (const point of points) {
      const index = Math.floor((point.at - first) / bin);
      if (index < 0 || index >= size) continue;
      whole[index] += Object.values(point.outcomes).reduce((sum, each) => sum + each, 0);
      const counts = this.how.of(point);
      this.names.forEach((name, line) => (plain[line][index] += counts[name] || 0));
    }
    if (this.how.share) plain.forEach((line) => line.forEach((each, index) => (line[index] = whole[index] ? each / whole[index] : 0)));
    // Drawn from the top of the stack down, each over the one before.
    const sums = new Array(size).fill(0);
    const heights = plain.map((line) => line.map((each, index) => (sums[index] += each)));
    return { drawn: [xs, ...heights.reverse()], plain };
  }

  extent() {
    const values = this.data.drawn.slice(1).flat().filter((each) => each != null && Number.isFinite(each));
    if (this.how.lines) {
      const low = Math.min(...values.filter((each) => each > 0), 1);
      const high = Math.max(...values, 10) * 1.1;
      return { min: Math.max(...DECADES.filter((each) => each <= low), DECADES[0]), max: Math.min(...DECADES.filter((each) => each >= high), DECADES.at(-1)) };
    }
    return { min: 0, max: Math.max(this.how.least, ...values) * 1.08 };
  }

  make() {
    const { lines } = this.how;
    const order = lines ? this.names : [...this.names].reverse();
    const axis = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const bars = lines ? null : uPlot.paths.bars({ size: [0.86, 100], align: 0 });
    this.plot = new uPlot(
      {
        width: this.canvas.clientWidth || 300,
        height: this.height(),
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: "time" }, points: { show: Boolean(lines) } },
        scales: { x: { time: true, auto: false }, y: { auto: false, distr: lines ? 3 : 1 } },
        axes: [
          { ...axis, space: 60, incrs: [60, 120, 300, 600, 900], values: (_, ticks) => ticks.map((each) => new Date(1000 * each).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })), size: 28, },
          { ...axis, size: 58, ...(lines ? { splits: (_, __, low, high) => DECADES.filter((each) => each >= low && each <= high), filter: (_, ticks) => ticks } : {}), values: (_, ticks) => ticks.map((each) => this.tick(each)) },
        ],
        series: [
          {},
          ...order.map((name) =>
            lines
              ? { stroke: color(name), width: 2, dash: { dashed: [8, 4], dotted: [2, 4] }[this.how.dash[name]], points: { show: this.few.bind(this), size: 5 } }
              : { stroke: color("card"), width: 0.5, fill: color(name), paths: bars, points: { show: false } },
          ),
        ],
        hooks: { setCursor: [(plot) => this.legend(plot.cursor.left >= 0 ? plot.cursor.idx : null)] },
      },
      this.data.drawn,
      this.canvas,
    );
  }

  few() {
    return this.data.drawn[0].length < 40;
  }

  tick(value) {
    if (value == null) return "";
    if (this.how.lines) return value >= 1 ? `${count(value)} s` : `${1000 * value} ms`;
    return this.how.share ? percent(value) : Number.isInteger(value) ? count(value) : "";
  }

  legend(index) {
    this.names.forEach((name, line) => {
      const { item, value } = this.values[name];
      const total = this.totals[name];
      const shown = index == null ? total : this.data.plain[line][index];
      set(value, this.how.lines || index == null ? this.how.text(shown) : this.how.share ? percent(shown) : count(shown));
      // What never happened would only be in the way.
      mark(item, "hidden", this.how.all || total ? null : "");
    });
  }
}

export function chart(place, title, hint, names, how) {
  return new Chart(place, title, hint, names, how);
}

export function redraw() {
  for (const each of all) {
    each.plot?.destroy();
    each.plot = null;
  }
}
