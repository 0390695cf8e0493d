// Concerns of an operator, the worst first: { kind: "bad" | "warn", text, view, match }.

import { bytes, plural, span, text } from "./format.js";
import { REFUSALS, refusals } from "./views.js";

const RECENT_S = 300;
const GONE_S = 3600;
const EXPIRY_S = 7 * 86400;
const FULL = 0.8;
const STATES = { silent: "does not answer pings", full: "out of buffer memory, or too many pending dials", draining: "shutting down" };
// Reasons of failed dials for which the tunnel may be the cause. For all others the target is.
const OURS = ["no_agent", "backend_dial_timeout", "backend_close", "dial_closed", "budget", "flood", "protocol"];

export function concerns(overview, sick) {
  return [...agents(overview, sick), ...paths(overview), ...stalls(overview), ...dials(overview), ...memory(overview), ...certificates(overview), ...handshakes(overview)];
}

function agents(overview, sick) {
  const found = [];
  for (const [state, meaning] of Object.entries(STATES)) {
    const number = overview.agents[state];
    if (number === 0) continue;
    const ids = named(sick.filter((agent) => agent.state === state).map((agent) => agent.id));
    const kind = state === "draining" ? "warn" : "bad";
    found.push({ kind, text: `${plural(number, "agent")} ${state} (${meaning})${ids}`, view: "agents", match: state });
  }
  const gone = overview.agents_gone.filter((agent) => agent.ago < GONE_S);
  if (gone.length) {
    const last = gone[0];
    const lost = gone.reduce((sum, agent) => sum + agent.connections, 0);
    const cost = lost ? `, with ${plural(lost, "connection")}` : "";
    const when = `${gone.length > 1 ? "the last " : ""}${span(last.ago)} ago`;
    const ids = named(gone.map((agent) => agent.id));
    found.push({ kind: "warn", text: `${plural(gone.length, "agent")} left and did not return, ${when}${cost}${ids}`, view: "agents", match: "" });
  }
  if (overview.agents.id_conflicts) {
    found.push({ kind: "warn", text: `${plural(overview.agents.id_conflicts, "agent")} connected with the id of another agent`, view: "agents", match: "" });
  }
  return found;
}

function paths(overview) {
  const { failing = 0, passing = 0 } = overview.paths ?? {};
  if (failing === 0) return [];
  const rest = passing ? "" : ", and none passes";
  return [{ kind: "bad", text: `${plural(failing, "path")} failing${rest}`, view: "paths", match: "failing" }];
}

function stalls(overview) {
  const { stalled_by_client: client, stalled_by_destination: destination } = overview.connections;
  if (client + destination === 0) return [];
  const who = [];
  if (client) who.push(`${plural(client, "client reads", "clients read")} nothing`);
  if (destination) who.push(`${plural(destination, "destination reads", "destinations read")} nothing`);
  return [{ kind: "warn", text: `${plural(client + destination, "connection")} stalled: ${who.join(", ")}`, view: "connections", match: "stalled" }];
}

function dials(overview) {
  const recent = overview.dial_failures.recent.filter((failure) => failure.ago < RECENT_S);
  const failed = overview.history.series.dial_failures.reduce((sum, number) => sum + number, 0);
  if (failed === 0 || recent.length === 0) return [];
  const ours = recent.some((failure) => OURS.includes(failure.reason));
  const last = recent[0];
  const when = last.ago < 2 ? "just now" : `${span(last.ago)} ago`;
  const where = last.text.includes(last.destination) ? "" : `to ${last.destination}: `;
  return [{ kind: ours ? "bad" : "warn", text: `${plural(failed, "dial")} failed in the last 5 minutes, the last ${when}: ${where}${last.text}`, view: "failures", match: "" }];
}

function memory(overview) {
  const { buffered_bytes: used, buffer_budget_bytes: budget, refused_dials: refused } = overview.memory;
  if (used < FULL * budget) return [];
  const cost = refused ? `; ${plural(refused, "dial")} refused for this reason so far` : "; above it, dials are refused";
  return [{ kind: "bad", text: `Buffer memory: ${text(bytes(used))} of ${text(bytes(budget))} in use${cost}`, view: "server", match: "" }];
}

function certificates(overview) {
  const ends = new Map(); // listeners by text
  const add = (kind, words, end) => ends.set(words, { kind, ends: [...(ends.get(words)?.ends ?? []), end] });
  for (const { end, kind, expires_in: left, reload_failures: failures } of overview.certificates) {
    const what = kind === "ca" ? "CA certificate" : "Certificate";
    if (left <= 0) add("bad", `${what} expired ${span(-left)} ago`, end);
    else if (left < EXPIRY_S) add("warn", `${what} expires in ${span(left)}`, end);
    if (failures && kind === "certificate") add("warn", `New TLS files could not be used (${failures} ×)`, end);
  }
  return [...ends].map(([words, { kind, ends: of }]) => ({ kind, text: `${words}: for ${of.join(", ")}`, view: "server", match: "" }));
}

function handshakes(overview) {
  return refusals(overview).map(({ listener, reason, count: number }) => (
    { kind: "warn", text: `${plural(number, "TLS handshake")} for ${listener} failed since the start: the peer has ${REFUSALS[reason]}`, view: "server", match: "" }));
}

function named(ids) {
  const some = [...new Set(ids)].slice(0, 3);
  return some.length ? `: ${some.join(", ")}${ids.length > some.length ? " …" : ""}` : "";
}
