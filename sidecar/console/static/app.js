// The console: takes the live events, keeps the last hour of points, and shows everything. It only reads.

import { chart, redraw } from "/console/charts.js";
import { clock, count, days, lasting, NONE, percent, rate, seconds, words } from "/console/format.js";
import { fill, mark, node, set, tile } from "/console/parts.js";

const SILENCE = 4000; // Events come each second: after so many milliseconds without one, the numbers are old.
const AGAIN = 2000;
const BINS = { 300: 5, 900: 15, 3600: 60 };
const OUTCOMES = ["ok", "cancelled", "client_error", "rate_limited", "overloaded", "server_error", "connection_error", "truncated", "rejected", "timeout"];
const PHASES = ["pool", "connect", "write", "first_byte", "stall", "deadline", "gateway", "client"];
const RESULTS = ["recovered", "abandoned", "exhausted"];
const WAITS = { pool: "a free connection", connect: "connecting", write: "sending", first_byte: "the first byte", stall: "the next byte", deadline: "the whole call", gateway: "a gateway", client: "the caller" };
const SIGNS = { bad: ["▲", "Problem: "], notice: ["●", "Notice: "], good: ["✓", "Good: "], quiet: ["○", ""] };
const STATES = { closed: "good", half_open: "notice", open: "bad", forced_open: "bad", disabled: "quiet", observe_only: "quiet" };

const $ = (id) => document.getElementById(id);
const stored = (name, fallback) => {
  try {
    return localStorage.getItem(`sidecar-${name}`) || fallback;
  } catch {
    return fallback;
  }
};
const store = (name, value) => {
  try {
    localStorage.setItem(`sidecar-${name}`, value);
  } catch {
    // Storage is forbidden: the choice lasts as long as the page.
  }
};

const state = { window: stored("window", "900"), source: "", points: new Map(), status: null, seen: 0, instance: "", spoken: "", stream: null };

// -- the graphs --------------------------------------------------------------------------------------------------

const DASHES = { p50: "dotted", p95: "", p99: "dashed" };
const place = $("graphs");
const quantiles = (of) => ({ lines: true, all: true, dash: DASHES, of, text: seconds });
const graphs = [
  [chart(place, "How long calls take", "Percentiles of the minute before each point", ["p50", "p95", "p99"], quantiles((point) => point.duration)), (s) => s.duration_seconds],
  [chart(place, "First token", "From the start of the call, retries included", ["p50", "p95", "p99"], quantiles((point) => point.first_token)), (s) => s.first_token_seconds],
  [chart(place, "Timeouts, by what was waited for", "Share of all calls that ended", PHASES, { of: (point) => point.timeouts, share: true, least: 0.05, text: count }), (s) => s.calls.timeouts_by_phase],
  [chart(place, "How calls ended", "Calls", OUTCOMES, { of: (point) => point.outcomes, least: 4, text: count }), (s) => s.calls.by_outcome],
  [chart(place, "What became of retried calls", "Calls", RESULTS, { of: (point) => point.retried, least: 4, all: true, text: count }), (s) => s.retries],
];

function draw(status) {
  const window = status.view.window_seconds;
  const points = [...state.points.values()].sort((a, b) => a.at - b.at).filter((point) => point.at >= status.now - window - 60);
  for (const [graph, totals] of graphs) graph.show(points, status.now - window, status.now, BINS[window], totals(status));
}

// -- what the numbers mean ---------------------------------------------------------------------------------------

function verdicts(status) {
  const list = $("verdicts");
  while (list.children.length > status.verdicts.length) list.lastChild.remove();
  status.verdicts.forEach((verdict, index) => {
    let item = list.children[index];
    if (!item) {
      item = node("li", {}, node("span", { class: "sign", "aria-hidden": "true" }), node("span", { class: "hidden" }), node("span", { class: "text" }));
      list.append(item);
    }
    const [sign, word] = SIGNS[verdict.severity];
    mark(item, "data-tone", verdict.severity);
    set(item.children[0], sign);
    set(item.children[1], word);
    set(item.children[2], verdict.text);
  });
  // Said aloud only when the story changes, not with every number in it.
  const story = status.verdicts.map((each) => each.id + each.severity).join();
  if (story !== state.spoken) {
    state.spoken = story;
    set($("spoken"), SIGNS[status.verdicts[0].severity][1] + status.verdicts[0].text);
  }
}

function tiles(status) {
  const list = $("tiles");
  const { calls, duration_seconds: took, first_token_seconds: first, retries, in_flight: flight } = status;
  const ended = retries.recovered + retries.exhausted;
  const worse = (value, notice, bad) => (value == null || value < notice ? null : value < bad ? "notice" : "bad");
  tile(list, "Calls", count(calls.total), `${rate(calls.per_second)} a second, ${percent(calls.ok_ratio)} ok`);
  tile(list, "Timing out", percent(calls.timeout_ratio), `${count(calls.by_outcome.timeout)} of ${count(calls.total)} calls`, worse(calls.timeout_ratio, 0.01, 0.05));
  tile(list, "Failing", percent(calls.failure_ratio), "of the calls that count", worse(calls.failure_ratio, 0.01, 0.05));
  tile(list, "p95 of calls", seconds(took.p95), `p50 ${seconds(took.p50)}, p99 ${seconds(took.p99)}`);
  tile(list, "p95 to first token", seconds(first.p95), `p50 ${seconds(first.p50)}, p99 ${seconds(first.p99)}`);
  tile(list, "Retries that saved", percent(retries.success_ratio), ended ? `${count(retries.recovered)} of ${count(ended)} retried calls` : "no retried calls", ended >= 5 ? worse(1 - retries.success_ratio, 0.2, 0.5) : null);
  tile(list, "Under way", count(flight.calls), flight.calls ? `oldest ${seconds(flight.oldest_seconds)}, silent ${seconds(flight.silent_seconds)}` : "no call at this moment", worse(flight.silent_seconds, 60, 180));
}

// -- the tables --------------------------------------------------------------------------------------------------

function tables(status) {
  const now = serverNow();
  fill($("breakers"), "Breakers", ["Breaker", "State", "Why", ">Failures", ">Tries again"],
    status.breakers.map((each) => [
      each.name,
      { text: words(each.state), tone: STATES[each.state], chip: true, title: processes(each.processes) },
      each.reason_text || NONE,
      percent(each.failure_ratio),
      each.reopens_at ? countdown(each.reopens_at - now) : each.state === "forced_open" ? "on reset" : NONE,
    ]), "No breakers: they come with a policy of the client, or with the proxy.");
  fill($("slo"), "Objectives", ["Objective", ">Target", ">Good", ">Burn rate"],
    status.slo.map((each) => [
      { text: each.name.replace(/^claude-/, ""), title: each.description },
      `${each.objective_percent} %`,
      { text: percent(each.good_ratio), title: `${count(each.bad)} bad of ${count(each.counted)} calls` },
      { text: each.burn_rate == null ? NONE : `${rate(each.burn_rate)} ×`, tone: each.burn_rate >= 2 ? "bad" : each.burn_rate > 1 ? "notice" : null,
        title: each.burn_rate > 0 ? `At this pace the budget of ${each.period} lasts ${lasting(days(each.period) / each.burn_rate)}` : null },
    ]), "No objectives");
  fill($("limits"), "Rate limits", ["Limit", ">Left", ">Full again"],
    status.rate_limits.map((each) => [
      words(each.kind),
      { text: each.left_ratio == null ? count(each.remaining) : `${percent(each.left_ratio)} of ${count(each.limit)}`, bar: each.left_ratio, tone: each.left_ratio < 0.1 ? "bad" : each.left_ratio < 0.4 ? "notice" : null },
      each.resets_at ? (each.resets_at > now ? countdown(each.resets_at - now) : "by now") : NONE,
    ]), "No answer has told its limits yet.");
  fill($("flight"), "Calls under way", ["Model", "Endpoint", ">Calls", ">Oldest", ">Silent"],
    status.in_flight.by_model.map((each) => [each.model, each.endpoint, count(each.calls), seconds(each.oldest_seconds), { text: seconds(each.silent_seconds), tone: each.silent_seconds > 60 ? "notice" : null }]),
    "No call is under way.");
  fill($("timeouts"), "Timeouts in force beside what is observed", ["Profile", "Waits for", ">In force", ">Ran out", ">Typical answer", ">p99 of answers", ">Longest", "So it is"],
    [...status.timeouts].sort((a, b) => b.expired - a.expired).map((each) => [
      each.profile,
      WAITS[each.phase],
      { text: each.setting_seconds == null ? (each.expired_after_seconds == null ? NONE : `≈ ${seconds(each.expired_after_seconds)}`) : seconds(each.setting_seconds), title: each.setting_seconds == null ? "Nobody told the setting: this is when waits did run out" : null },
      { text: count(each.expired), tone: each.expired ? "notice" : null },
      seconds(each.observed.p50),
      { text: seconds(each.observed.p99), bar: each.setting_seconds && each.observed.p99 != null ? each.observed.p99 / each.setting_seconds : null },
      seconds(each.observed.max),
      { tight: { text: "tight", tone: "notice", chip: true, title: "Answers come close to being cut off" }, loose: { text: "loose", tone: "quiet", chip: true, title: "Ten times what answers need: failures are noticed late" }, fits: { text: "fits", tone: "good", chip: true } }[each.fit] || NONE,
    ]), "No timeouts have been told, and none ran out.");
  fill($("models"), "Models", ["Model", "Endpoint", ">Calls", ">Ok", ">Timing out", ">p50", ">p95", ">p99", ">First token p95"],
    status.models.map((each) => [
      each.model, each.endpoint, count(each.total), percent(each.ok_ratio),
      { text: percent(each.timeout_ratio), tone: each.timeout_ratio >= 0.05 ? "bad" : each.timeout_ratio >= 0.01 ? "notice" : null },
      seconds(each.duration_seconds.p50), seconds(each.duration_seconds.p95), seconds(each.duration_seconds.p99), seconds(each.first_token_seconds.p95),
    ]), "No calls");
  for (const [name, caption, nothing] of [["failed", "Last failed calls", "No call failed."], ["slowest", "Slowest calls", "No calls"]]) {
    fill($(name), caption, ["Ended", "Model", "How", ">Took", ">First token", ">Attempts", "Request id"],
      status[name].map((each) => [
        { text: clock(each.ended_at), title: new Date(1000 * each.ended_at).toISOString() },
        { text: each.model, title: `${each.endpoint}, ${each.profile}${each.stream ? ", streamed" : ""}` },
        { text: words(each.outcome) + (each.phase ? `: ${words(each.phase)}` : ""), tone: each.outcome === "ok" ? "good" : each.outcome === "timeout" ? "bad" : "notice", chip: true },
        seconds(each.duration_seconds), seconds(each.first_token_seconds), count(each.attempts),
        { text: each.request_id || NONE },
      ]), nothing);
  }
}

function processes(counts) {
  const parts = Object.entries(counts).filter(([, many]) => many).map(([name, many]) => `${words(name)} in ${many}`);
  return `${parts.join(", ")} process(es)`;
}

function countdown(left) {
  return left > 0 ? `in ${seconds(Math.ceil(left))}` : "now";
}

// -- the connection ----------------------------------------------------------------------------------------------

function serverNow() {
  return state.status.now + (performance.now() - state.seen) / 1000;
}

function take(status) {
  if (status.sidecar.instance !== state.instance || status.view.source !== state.shownSource) {
    // Another process, or another view: what was drawn is not of this history.
    state.points.clear();
    state.instance = status.sidecar.instance;
    state.shownSource = status.view.source;
  }
  for (const point of status.series) state.points.set(point.at, point);
  for (const at of state.points.keys()) if (at < status.now - status.history.span_seconds) state.points.delete(at);
  Object.assign(state, { status, seen: performance.now() });
  connected("live");
  show();
}

function show() {
  const { status } = state;
  const ever = status.view.sources.length > 0;
  $("empty").hidden = ever;
  document.body.dataset.calls = ever ? "some" : "none";
  set($("mode"), status.sidecar.mode);
  verdicts(status);
  tiles(status);
  tables(status);
  draw(status);
  const sources = $("sources");
  sources.hidden = status.view.sources.length < 2;
  for (const input of sources.elements) if (input.value === status.view.source) input.checked = true;
  set($("about"), `claude-sidecar ${status.sidecar.version}, watching since ${clock(status.history.since)}; kept in memory for an hour.`);
  document.title = `${status.calls.total ? `${percent(status.calls.timeout_ratio)} time out · ` : ""}claude-sidecar`;
}

function connected(how) {
  if (document.body.dataset.link === how) return;
  document.body.dataset.link = how;
  set($("link-text"), { live: "Live", lost: "No answer", connecting: "Connecting" }[how]);
  $("banner").hidden = how !== "lost";
  if (how !== "lost") set($("banner"), "");
}

function watch() {
  const silent = performance.now() - state.seen;
  if (silent < SILENCE) {
    if (state.status) tables(state.status); // the countdowns
    return;
  }
  connected("lost");
  const ago = state.status ? `last seen ${seconds(Math.round(silent / 1000))} ago; these numbers are old` : "it has not been seen yet";
  set($("banner"), `The sidecar does not answer: ${ago}. Trying again…`);
  if (!state.stream || silent > state.patience) {
    state.patience = silent + 2 * SILENCE;
    connect();
  }
}

function connect() {
  state.stream?.close();
  const source = state.source ? `&source=${state.source}` : "";
  const stream = new EventSource(`/api/v1/events?window=${state.window}${source}`);
  state.stream = stream;
  stream.addEventListener("status", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    if (stream !== state.stream) return;
    stream.close();
    state.stream = null;
    setTimeout(() => state.stream || connect(), AGAIN);
    asked();
  });
}

async function asked() {
  // A token that is no longer good shows only to a request: then the login page has its turn.
  try {
    const answer = await fetch("/api/v1/status?window=300", { method: "HEAD" });
    if (answer.status === 401 || answer.status === 403) location.reload();
  } catch {
    // Nobody answers; the banner says so.
  }
}

// -- the controls ------------------------------------------------------------------------------------------------

const THEMES = { auto: "light", light: "dark", dark: "auto" };

function theme(chosen) {
  document.documentElement.dataset.theme = chosen;
  const button = $("theme");
  set(button, { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[chosen]);
  button.setAttribute("aria-label", `Theme: ${chosen === "auto" ? "as the system" : chosen}. Change`);
  redraw();
  if (state.status) draw(state.status);
}

$("theme").addEventListener("click", () => {
  const next = THEMES[document.documentElement.dataset.theme];
  store("theme", next);
  theme(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(document.documentElement.dataset.theme));
$("windows").addEventListener("change", (event) => {
  state.window = event.target.value;
  store("window", state.window);
  connect();
});
$("sources").addEventListener("change", (event) => {
  state.source = event.target.value;
  connect();
});
if (!(state.window in BINS)) state.window = "900";
for (const input of $("windows").elements) if (input.value === state.window) input.checked = true;

state.seen = performance.now();
theme(document.documentElement.dataset.theme);
connect();
setInterval(watch, 1000);
