// The page: asks every other second while it is looked at, and shows what it got.

import { ask } from "./api.js";
import { concerns } from "./attention.js";
import { mark, tag } from "./dom.js";
import { plural, rate, span, text } from "./format.js";
import { Plot } from "./plot.js";
import { Table } from "./table.js";
import * as views from "./views.js";

const INTERVAL_MS = 2000;
const SAMPLES = 300;
const LIMIT = 200;
const VIEWS = ["agents", "connections", "failures", "server"];

const at = (id) => document.getElementById(id);
const state = {
  view: "agents",
  match: { agents: "", connections: "", failures: "" },
  sort: { agents: views.agents.sort, connections: views.connections.sort, failures: views.failures.sort },
  overview: null,
  answeredAt: null, // of performance.now()
  round: 0, // of the newest question: an older one's answer comes too late
  timer: null,
};

// ---- asking ----------------------------------------------------------------------------------------------------

async function refresh() {
  clearTimeout(state.timer);
  const round = (state.round += 1);
  const view = state.view;
  try {
    const [overview, sick, list] = await Promise.all([ask("overview"), sickAgents(), listOf(view)]);
    if (round !== state.round) return;
    state.answeredAt = performance.now();
    state.overview = overview;
    lost(null);
    show(view, overview, sick, list);
  } catch (error) {
    if (round !== state.round) return;
    lost(error);
  }
  if (!document.hidden) state.timer = setTimeout(refresh, INTERVAL_MS);
}

async function sickAgents() {
  const found = await ask("agents", { limit: 20, sort: "state" });
  return found.agents.filter((agent) => agent.state !== "ready");
}

async function listOf(view) {
  if (!views[view]?.path) return null;
  return ask(views[view].path, { limit: LIMIT, sort: state.sort[view], match: state.match[view] });
}

function lost(error) {
  const live = at("live");
  document.body.classList.toggle("stale", error !== null);
  live.className = error === null ? "live on" : "live off";
  say(live, error === null ? "Live" : "No answer");
  at("lost").hidden = error === null;
  if (error === null) return;
  const since = state.answeredAt === null ? "" : ` for ${span((performance.now() - state.answeredAt) / 1000)}`;
  const old = state.answeredAt === null ? "" : " What is shown below is from before that.";
  say(at("lost"), `The server gives no answer${since}.${old} Trying again every ${INTERVAL_MS / 1000} s.`);
}

// ---- showing ---------------------------------------------------------------------------------------------------

function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

function show(view, overview, sick, list) {
  say(at("server-id"), overview.id);
  document.title = `${overview.ready ? "" : "Not ready: "}${overview.id} – Konnectivity server`;
  showHealth(overview, sick);
  for (const plot of plots) plot.show(overview.history.series, SAMPLES);
  showTabs(overview);
  if (view === state.view) panels[view].show(overview, list);
}

function showHealth(overview, sick) {
  const { agents, connections } = overview;
  const ready = overview.ready
    ? mark("good", "Ready")
    : mark("bad", "Not ready", tag("span", "why", overview.not_ready));
  const through = connections.through_servers ? `, ${plural(connections.through_servers, "more")} through other servers` : "";
  const summary = `${plural(agents.streams, "agent stream")}, ${plural(connections.open, "connection")}${through}. Up ${span(overview.uptime)}.`;
  at("ready").replaceChildren(ready, tag("span", "summary", summary));
  const found = concerns(overview, sick);
  const items = found.map(({ kind, text: words, view, match }) => {
    const button = tag("button", "", mark(kind, words));
    button.type = "button";
    button.addEventListener("click", () => open(view, match));
    return tag("li", "", button);
  });
  if (items.length === 0 && overview.ready) items.push(tag("li", "quiet", "Nothing needs attention."));
  const list = at("attention");
  const words = items.map((item) => item.textContent).join("\n");
  if (list.shown === words) return;
  const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.shown = words;
  list.replaceChildren(...items);
  list.children[focused]?.firstChild.focus?.();
}

function showTabs(overview) {
  const { agents, connections } = overview;
  const numbers = {
    agents: agents.streams,
    connections: connections.open + connections.through_servers,
    failures: overview.dial_failures.recent.length,
  };
  for (const view of VIEWS) {
    const tab = at(`tab-${view}`);
    const chosen = view === state.view;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    const name = (tab.dataset.name ??= tab.textContent);
    const parts = [name];
    if (view in numbers) parts.push(tag("span", "number", ` ${numbers[view].toLocaleString("en")}`));
    if (tab.shown !== String(numbers[view])) tab.replaceChildren(...parts);
    tab.shown = String(numbers[view]);
  }
}

const recent = (values, seconds) => values.slice(-seconds);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => (values.length ? sum(values) / values.length : 0);
const key = (kind, words) => tag("span", `key ${kind}`, words);

const plots = [
  new Plot({
    title: "Throughput",
    names: ["bytes_from_destination", "bytes_to_destination"],
    kinds: ["one", "two"],
    least: 1024,
    scale: (value) => text(rate(value)),
    now: (series) => [
      key("one", `${text(rate(mean(recent(series.bytes_from_destination, 5))))} received`),
      key("two", `${text(rate(mean(recent(series.bytes_to_destination, 5))))} sent`),
    ],
    describe: ([from, to]) => `${text(rate(from))} received, ${text(rate(to))} sent`,
  }),
  new Plot({
    title: "Dials",
    names: ["dials", "dial_failures"],
    kinds: ["one", "bad"],
    least: 5,
    scale: (value) => `${value}/s`,
    now: (series) => {
      const failed = sum(recent(series.dial_failures, 60));
      return [key("one", `${sum(recent(series.dials, 60))} in the last minute`), key(failed ? "bad" : "none", `${failed} failed`)];
    },
    describe: ([dials, failed]) => `${dials}/s, ${failed}/s failed`,
  }),
  new Plot({
    title: "Connections",
    names: ["connections", "stalled"],
    kinds: ["one", "warn"],
    least: 5,
    scale: (value) => value.toLocaleString("en"),
    now: (series) => {
      const [open, stalled] = [series.connections.at(-1) ?? 0, series.stalled.at(-1) ?? 0];
      return [key("one", `${open.toLocaleString("en")} open`), key(stalled ? "warn" : "none", `${stalled.toLocaleString("en")} stalled`)];
    },
    describe: ([open, stalled]) => `${open} open, ${stalled} stalled`,
  }),
  new Plot({
    title: "Agents",
    names: ["agents"],
    kinds: ["one"],
    least: 4,
    scale: (value) => value.toLocaleString("en"),
    now: (series) => [key("one", plural(series.agents.at(-1) ?? 0, "stream"))],
    describe: ([agents]) => plural(agents, "stream"),
  }),
];

// ---- the lists -------------------------------------------------------------------------------------------------

class ListPanel {
  constructor(view) {
    this.view = view;
    this.spec = views[view];
    this.note = tag("p", "note");
    this.more = tag("div", "more");
    this.frame = tag("div", "frame");
    this.element = tag("div", "", this.frame, this.note, this.more);
    this.table = null;
  }

  build(workers) {
    this.workers = workers;
    const columns = this.spec.columns(workers);
    this.table = new Table({ columns, id: this.spec.id, caption: this.spec.caption, onSort: (column) => sortBy(this.view, column) });
    this.frame.replaceChildren(this.table.element);
  }

  show(overview, list) {
    const workers = Boolean(overview.workers);
    if (this.table === null || this.workers !== workers) this.build(workers);
    const { rows, total, matching } = this.found(overview, list);
    this.table.sorted(state.sort[this.view]);
    this.table.show(rows);
    this.frame.hidden = rows.length === 0;
    say(this.note, this.words(rows.length, matching, total));
    if (this.view === "agents") this.more.replaceChildren(...gone(overview));
    sorter();
  }

  found(overview, list) {
    if (list !== null) return { rows: list[this.spec.rows], total: list.total, matching: list.matching };
    const all = overview.dial_failures.recent;
    const wanted = state.match[this.view].toLowerCase();
    const rows = all.filter((row) => Object.values(row).join("\n").toLowerCase().includes(wanted));
    const by = state.sort[this.view].replace(/^-/, "");
    const sign = state.sort[this.view].startsWith("-") ? -1 : 1;
    const compare = (one, other) => (typeof one === "number" ? one - other : `${one ?? ""}`.localeCompare(`${other ?? ""}`));
    rows.sort((one, other) => sign * compare(one[by], other[by]));
    return { rows, total: all.length, matching: rows.length };
  }

  words(shown, matching, total) {
    if (total === 0) return this.spec.nothing;
    const all = plural(total, this.spec.one);
    if (matching === 0) return `None of ${all} matches the filter.`;
    if (shown < matching) return `The first ${shown.toLocaleString("en")} of ${matching.toLocaleString("en")}${matching < total ? ` that match, of ${all}` : ""}. A filter finds the others.`;
    return matching < total ? `${matching.toLocaleString("en")} of ${all}.` : `${all}.`;
  }
}

class ServerPanel {
  constructor() {
    this.element = tag("div", "facts");
  }

  show(overview) {
    const groups = views.facts(overview).map(([title, facts]) => {
      const list = tag("dl");
      for (const [name, value, share] of facts) {
        const said = tag("dd", "", value);
        if (share !== undefined) {
          const meter = tag("meter");
          meter.value = share;
          meter.high = 0.8;
          meter.setAttribute("aria-label", name);
          said.append(meter);
        }
        list.append(tag("dt", "", name), said);
      }
      return tag("section", "", tag("h2", "", title), list);
    });
    this.element.replaceChildren(...groups);
  }
}

const panels = {
  agents: new ListPanel("agents"),
  connections: new ListPanel("connections"),
  failures: new ListPanel("failures"),
  server: new ServerPanel(),
};

function gone(overview) {
  if (overview.agents_gone.length === 0) return [];
  const list = tag("ul");
  for (const agent of overview.agents_gone) {
    list.append(tag("li", "", tag("span", "mono", agent.id), " ", tag("span", "quiet", views.goneText(agent))));
  }
  return [tag("h2", "", "Gone, and not back"), list];
}

// ---- what a person does ----------------------------------------------------------------------------------------

function open(view, match = null) {
  if (match !== null && view in state.match) state.match[view] = match;
  state.view = view;
  history.replaceState(null, "", `#${view}`);
  at("panel").setAttribute("aria-labelledby", `tab-${view}`);
  at("panel").replaceChildren(panels[view].element);
  at("tools").hidden = view === "server";
  at("filter").value = state.match[view] ?? "";
  if (state.overview !== null) showTabs(state.overview);
  refresh();
}

function sortBy(view, column) {
  const now = state.sort[view];
  const first = column.first < 0 ? `-${column.key}` : column.key;
  const other = column.first < 0 ? column.key : `-${column.key}`;
  state.sort[view] = now === first ? other : first;
  refresh();
}

// The same for narrow screens, where the table has no head.
function sorter() {
  const select = at("sort");
  const panel = panels[state.view];
  if (!(panel instanceof ListPanel) || panel.table === null) return;
  if (select.dataset.view !== state.view) {
    select.dataset.view = state.view;
    const options = panel.table.columns.filter((column) => column.key !== null).map((column) => new Option(column.title, column.key));
    select.replaceChildren(...options);
  }
  select.value = state.sort[state.view].replace(/^-/, "");
}

function sortChosen() {
  const column = panels[state.view].table.columns.find((each) => each.key === at("sort").value);
  state.sort[state.view] = column.first < 0 ? `-${column.key}` : column.key;
  refresh();
}

function tabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const place = VIEWS.indexOf(state.view);
  const next = { Home: 0, End: VIEWS.length - 1 }[event.key] ?? (step && (place + step + VIEWS.length) % VIEWS.length);
  if (next === undefined) return;
  event.preventDefault();
  open(VIEWS[next]);
  at(`tab-${VIEWS[next]}`).focus();
}

function filterKey(event) {
  const filter = at("filter");
  if (event.key === "/" && document.activeElement !== filter && !at("tools").hidden) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && document.activeElement === filter) {
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
  }
}

// ---- light and dark --------------------------------------------------------------------------------------------

const darkOutside = matchMedia("(prefers-color-scheme: dark)");

function theme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
  const dark = (document.documentElement.dataset.theme ?? (darkOutside.matches ? "dark" : "light")) === "dark";
  at("theme").textContent = dark ? "Light" : "Dark";
  at("theme").setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
  return dark;
}

function remembered() {
  try {
    return localStorage.getItem("konnectivity-theme");
  } catch {
    return null; // the browser keeps nothing
  }
}

function switchTheme() {
  const chosen = theme() ? "light" : "dark";
  theme(chosen);
  try {
    localStorage.setItem("konnectivity-theme", chosen);
  } catch {
    // the browser keeps nothing
  }
}

// ---- start -----------------------------------------------------------------------------------------------------

theme(remembered());
darkOutside.addEventListener("change", () => theme());
at("theme").addEventListener("click", switchTheme);
at("plots").append(...plots.map((plot) => plot.element));
for (const view of VIEWS) at(`tab-${view}`).addEventListener("click", () => open(view));
document.querySelector("[role=tablist]").addEventListener("keydown", tabKey);
document.addEventListener("keydown", filterKey);
at("filter").addEventListener("input", () => {
  state.match[state.view] = at("filter").value.trim();
  clearTimeout(state.timer);
  state.timer = setTimeout(refresh, 150);
});
at("sort").addEventListener("change", sortChosen);
document.addEventListener("visibilitychange", () => (document.hidden ? pause() : refresh()));

function pause() {
  clearTimeout(state.timer);
  at("live").className = "live";
  say(at("live"), "Paused");
}

const asked = location.hash.slice(1);
open(VIEWS.includes(asked) ? asked : "agents");
