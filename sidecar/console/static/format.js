// Numbers and times as people read them.

export const NONE = "–";

export function count(value) {
  return value == null ? NONE : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

export function percent(ratio) {
  if (ratio == null) return NONE;
  const value = 100 * ratio;
  // Neither all nor nothing is said where it is not so.
  if (value > 99 && value < 100) return `${Math.min(value, 99.9).toFixed(1)} %`;
  if (value > 0 && value < 10) return `${Math.max(value, 0.1).toFixed(1)} %`;
  return `${value.toFixed(0)} %`;
}

export function seconds(value) {
  if (value == null) return NONE;
  if (value >= 3600) return `${(value / 3600).toFixed(1)} h`;
  if (value >= 600) return `${Math.round(value / 60)} min`;
  if (value >= 10) return `${Math.round(value)} s`;
  if (value >= 1) return `${trimmed(value.toFixed(1))} s`;
  return value ? `${Math.max(1, Math.round(1000 * value))} ms` : "0 s";
}

export function rate(value) {
  if (value == null) return NONE;
  return value >= 100 ? count(value) : trimmed(value.toPrecision(value < 0.1 ? 1 : 2));
}

export function clock(at) {
  return new Date(1000 * at).toLocaleTimeString([], { hourCycle: "h23" });
}

export function words(name) {
  return (name || "").replaceAll("_", " ");
}

export function days(text) {
  const unit = { d: 1, w: 7, h: 1 / 24 }[text.slice(-1)];
  return unit ? parseFloat(text) * unit : 30;
}

export function lasting(value) {
  if (value >= 2) return `${Math.round(value)} days`;
  return value * 24 >= 2 ? `${Math.round(value * 24)} hours` : `${Math.max(1, Math.round(value * 24 * 60))} minutes`;
}

function trimmed(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
