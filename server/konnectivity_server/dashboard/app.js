// The page: asks the server every two seconds while the page is visible, and shows the answers.

import { asksForToken, granted, isLocked, onlyTenant, useToken } from "./access.js";
import { ask, tenant } from "./api.js";
import { concerns } from "./attention.js";
import { mark, say, tag } from "./dom.js";
import { plural, span } from "./format.js";
import { ListPanel, ServerPanel } from "./panels.js";
import { plots } from "./rates.js";
import { useTheme } from "./theme.js";
import * as views from "./views.js";

const INTERVAL_MS = 2000;
const SAMPLES = 300;
const LIMIT = 200;
const LISTS = ["agents", "paths", "connections", "failures"];
const NO_PATHS = { paths: [], classes: [], total: 0, matching: 0 }; // of a server without probes
const VIEWS = [...LISTS, "server"];

const at = (id) => document.getElementById(id);
const state = {
  view: "agents",
  asked: Object.fromEntries(LISTS.map((view) => [view, { match: "", sort: views[view].sort }])),
  overview: null,
  answeredAt: null, // time of the last answer, by performance.now()
  round: 0, // number of the newest request: answers to older requests are dropped
  timer: null,
};

// ---- asking ----------------------------------------------------------------------------------------------------

async function refresh() {
  clearTimeout(state.timer);
  if (isLocked()) return;
  const round = (state.round += 1);
  const view = state.view;
  try {
    if (view === "paths" && state.overview === null) state.overview = await ask("overview");
    const [overview, sick, list] = await Promise.all([ask("overview"), sickAgents(), listOf(view)]);
    if (round !== state.round) return;
    state.answeredAt = performance.now();
    state.overview = overview;
    granted();
    lost(null);
    show(view, overview, sick, list);
  } catch (error) {
    if (round !== state.round || asksForToken(error)) return;
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
  if (view === "paths" && state.overview !== null && !state.overview.paths) return NO_PATHS;
  return ask(views[view].path, { limit: LIMIT, ...state.asked[view] });
}

function lost(error) {
  const live = at("live");
  document.body.classList.toggle("stale", error !== null);
  live.className = error === null ? "live on" : "live off";
  say(live, error === null ? "Live" : "No answer");
  at("lost").hidden = error === null;
  if (error === null) return;
  const since = state.answeredAt === null ? "" : ` for ${span((performance.now() - state.answeredAt) / 1000)}`;
  const old = state.answeredAt === null ? "" : " The data below are older.";
  say(at("lost"), `The server does not answer${since}.${old} Trying again every ${INTERVAL_MS / 1000} s.`);
}

// ---- showing ---------------------------------------------------------------------------------------------------

function show(view, overview, sick, list) {
  const who = tenant ? `${tenant} on ${overview.id}` : overview.id;
  say(at("server-id"), who);
  document.title = `${overview.ready ? "" : "Not ready, "}${who}: Konnectivity server`;
  showHealth(overview, sick);
  for (const plot of plots) plot.show(overview.history.series, SAMPLES);
  showTabs(overview);
  panels[view].show(overview, list);
  sorter();
}

function showHealth(overview, sick) {
  const { agents, connections } = overview;
  const ready = overview.ready
    ? mark("good", "Ready")
    : mark("bad", "Not ready", tag("span", "why", overview.not_ready));
  const through = connections.through_servers ? `, ${plural(connections.through_servers, "more")} through peer servers` : "";
  const summary = `${plural(agents.streams, views.agents.one(overview))}, ${plural(connections.open, "connection")}${through}. Up ${span(overview.uptime)}.`;
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
    failures: overview.dial_failures.recent.reduce((sum, failure) => sum + failure.count, 0),
    ...(overview.paths ? { paths: Object.values(overview.paths).reduce((sum, number) => sum + number, 0) } : {}),
  };
  at("tab-paths").hidden = !overview.paths;
  for (const view of VIEWS) {
    const tab = at(`tab-${view}`);
    const chosen = view === state.view;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    const parts = [tab.dataset.name];
    if (view in numbers) parts.push(tag("span", "number", ` ${numbers[view].toLocaleString("en")}`));
    if (tab.shown !== String(numbers[view])) tab.replaceChildren(...parts);
    tab.shown = String(numbers[view]);
  }
}

const panels = {
  ...Object.fromEntries(LISTS.map((view) => [view, new ListPanel(view, state.asked[view], (column) => sortBy(view, column))])),
  server: new ServerPanel(),
};

// ---- actions of a person ----------------------------------------------------------------------------------------

function open(view, match = null) {
  if (match !== null && view in state.asked) state.asked[view].match = match;
  state.view = view;
  history.replaceState(null, "", `#${view}`);
  at("panel").setAttribute("aria-labelledby", `tab-${view}`);
  at("panel").replaceChildren(panels[view].element);
  at("tools").hidden = view === "server";
  at("filter").value = state.asked[view]?.match ?? "";
  if (state.overview !== null) showTabs(state.overview);
  refresh();
}

function sortBy(view, column) {
  const first = column.first < 0 ? `-${column.key}` : column.key;
  const other = column.first < 0 ? column.key : `-${column.key}`;
  const asked = state.asked[view];
  asked.sort = asked.sort === first ? other : first;
  refresh();
}

// Sort control for narrow screens, where the table has no head.
function sorter() {
  const select = at("sort");
  const panel = panels[state.view];
  if (!(panel instanceof ListPanel) || panel.table === null) return;
  if (select.dataset.view !== state.view) {
    select.dataset.view = state.view;
    const options = panel.table.columns.filter((column) => column.key !== null).map((column) => new Option(column.title, column.key));
    select.replaceChildren(...options);
  }
  select.value = state.asked[state.view].sort.replace(/^-/, "");
}

function sortChosen() {
  const column = panels[state.view].table.columns.find((each) => each.key === at("sort").value);
  state.asked[state.view].sort = column.first < 0 ? `-${column.key}` : column.key;
  refresh();
}

function tabKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const shown = VIEWS.filter((view) => !at(`tab-${view}`).hidden);
  const place = shown.indexOf(state.view);
  const next = { Home: 0, End: shown.length - 1 }[event.key] ?? (step && (place + step + shown.length) % shown.length);
  if (next === undefined) return;
  event.preventDefault();
  open(shown[next]);
  at(`tab-${shown[next]}`).focus();
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

// ---- start -----------------------------------------------------------------------------------------------------

useTheme();
useToken(refresh);
at("others").hidden = tenant === "" || onlyTenant() === tenant;
at("plots").append(...plots.map((plot) => plot.element));
for (const view of VIEWS) at(`tab-${view}`).addEventListener("click", () => open(view));
document.querySelector("[role=tablist]").addEventListener("keydown", tabKey);
document.addEventListener("keydown", filterKey);
at("filter").addEventListener("input", () => {
  state.asked[state.view].match = at("filter").value.trim();
  clearTimeout(state.timer);
  state.timer = setTimeout(refresh, 150);
});
at("sort").addEventListener("change", sortChosen);
document.addEventListener("visibilitychange", () => (document.hidden ? pause() : refresh()));

function pause() {
  clearTimeout(state.timer);
  if (isLocked()) return;
  at("live").className = "live";
  say(at("live"), "Paused");
}

const asked = location.hash.slice(1);
open(VIEWS.includes(asked) ? asked : "agents");
