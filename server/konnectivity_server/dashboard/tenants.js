// The page of a server of many tenants: the list of all, those in trouble first. A name leads to the page of its tenant.

import { asksForToken, coversOnly, granted, isLocked, useToken } from "./access.js";
import { ask } from "./api.js";
import { mark, say, tag } from "./dom.js";
import { bytes, count, plural } from "./format.js";
import { Table } from "./table.js";
import { useTheme } from "./theme.js";

const INTERVAL_MS = 2000;
const LIMIT = 200;
const KINDS = { ready: "good", "not ready": "bad", outdated: "warn", refused: "bad" };

const at = (id) => document.getElementById(id);
const number = (key, title, hint) => ({ key, title, hint, first: -1, number: true, cell: (row) => known(row[key], count) });
const known = (value, write) => (value === undefined ? "–" : write(value)); // a refused tenant has no figures
const state = { match: "", sort: "state", round: 0, timer: null };

const table = new Table({
  caption: "Tenants",
  id: (row) => row.name,
  onSort: sortBy,
  columns: [
    { key: "state", title: "State", first: 1, cell: (row) => mark(KINDS[row.state] ?? "warn", row.state) },
    { key: "name", title: "Tenant", first: 1, style: "mono lead", cell: name },
    number("agents", "Agents"),
    number("connections", "Connections"),
    number("dial_failures", "Failed dials"),
    { key: "buffered_bytes", title: "Buffered", first: -1, number: true, cell: (row) => known(row.buffered_bytes, bytes) },
    number("limits_reached", "Limits reached", "Number of times that a limit of the tenant was reached"),
    { key: null, title: "Trouble", style: "wide reason", cell: (row) => row.trouble ?? "–" },
  ],
});

const pageOf = (tenant) => `./?tenant=${encodeURIComponent(tenant)}`;

function name(row) {
  const link = tag("a", "", row.name);
  link.href = pageOf(row.name);
  const names = (row.server_names ?? []).join(", ");
  return tag("span", "", row.server_names ? link : row.name, tag("small", "", names));
}

async function refresh() {
  clearTimeout(state.timer);
  if (isLocked()) return;
  const round = (state.round += 1);
  try {
    const found = await ask("tenants", { match: state.match, sort: state.sort, limit: LIMIT });
    if (round !== state.round) return;
    if (found.tenant !== undefined) {
      coversOnly(found.tenant); // the token is of one tenant
      location.replace(pageOf(found.tenant));
      return;
    }
    granted();
    answered(true);
    table.show(found.tenants);
    table.sorted(state.sort);
    const shown = found.tenants.length < found.matching ? `, the first ${found.tenants.length} are shown` : "";
    const chosen = state.match ? `${found.matching} of ${plural(found.total, "tenant")}` : plural(found.total, "tenant");
    say(at("summary"), `${chosen}${shown}.`);
  } catch (error) {
    if (round !== state.round || asksForToken(error)) return;
    answered(false);
  }
  if (!document.hidden) state.timer = setTimeout(refresh, INTERVAL_MS);
}

function answered(well) {
  document.body.classList.toggle("stale", !well);
  at("live").className = well ? "live on" : "live off";
  say(at("live"), well ? "Live" : "No answer");
  at("lost").hidden = well;
  say(at("lost"), well ? "" : `The server does not answer. Trying again every ${INTERVAL_MS / 1000} s.`);
}

function sortBy(column) {
  const first = column.first < 0 ? `-${column.key}` : column.key;
  const other = column.first < 0 ? column.key : `-${column.key}`;
  state.sort = state.sort === first ? other : first;
  refresh();
}

useTheme();
useToken(refresh);
at("panel").replaceChildren(table.element);
at("filter").addEventListener("input", () => {
  state.match = at("filter").value.trim();
  clearTimeout(state.timer);
  state.timer = setTimeout(refresh, 150);
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(state.timer) : refresh()));
refresh();
