// Lists: columns, path of the API, and the text of an empty list.

import { mark, tag } from "./dom.js";
import { age, bytes, count, latency, plural, span, text } from "./format.js";

export { paths } from "./paths.js";

const AGENT_KINDS = { ready: "good", draining: "warn", duplicate: "calm", declining: "warn", silent: "bad", full: "bad" };
const SIDES = { client: "client reads nothing", destination: "destination reads nothing" };

export const REASONS = {
  no_agent: "no agent that the strategies allow",
  error_response: "the agent could not connect",
  backend_dial_timeout: "the agent did not answer in time",
  backend_close: "the agent's stream ended during the dial",
  dial_closed: "the agent gave up the dial",
  frontend_close: "the client left before the answer",
  unrecognized_response: "the agent answered a dial that was over",
  send_rsp: "the client had left when the agent connected",
  budget: "out of buffer memory",
  protocol: "the agent broke the protocol",
  flood: "too many pending dials",
  address: "the destination is not an address, or too long",
};

const worker = { key: null, title: "Worker", number: true, cell: (row) => count(row.worker) };

function identifiers(agent) {
  const values = Object.values(agent.identifiers).flat();
  return [...values, ...(agent.default_route ? ["default route"] : [])].join(", ") || "–";
}

export const agents = {
  path: "agents",
  rows: "agents",
  caption: "Agents",
  sort: "state",
  one: (overview) => (overview.workers ? "agent stream" : "agent"),
  more: gone,
  nothing: "No agent is connected. Nothing can pass through this server.",
  id: (row) => JSON.stringify([row.worker, row.id, row.peer]),
  columns: (workers) => [
    { key: "state", title: "State", first: 1, cell: (row) => mark(AGENT_KINDS[row.state] ?? "warn", row.state) },
    { key: "id", title: "Agent", first: 1, style: "mono lead", cell: (row) => tag("span", "", row.id, tag("small", "", row.peer)) },
    { key: null, title: "Identifiers", style: "mono wide", cell: identifiers },
    { key: "connections", title: "Connections", first: -1, number: true, cell: (row) => count(row.connections) },
    { key: "pending_dials", title: "Pending", first: -1, number: true, hint: "Dials that the agent has not answered yet", cell: (row) => count(row.pending_dials) },
    { key: "round_trip", title: "Round trip", first: -1, number: true, hint: "Duration of the last ping", cell: (row) => latency(row.round_trip) },
    { key: "dial_latency", title: "Dial", first: -1, number: true, hint: "Time that the agent takes to answer a dial, smoothed", cell: (row) => latency(row.dial_latency || null) },
    { key: "load", title: "Load", first: -1, number: true, hint: "(1 + connections + 4 × pending) × dial latency, in ms; the lighter of two agents gets a dial", cell: (row) => [(row.load * 1000).toFixed(1), ""] },
    { key: "buffered_bytes", title: "Buffered", first: -1, number: true, hint: "Bytes of the agent's connections that wait in the server", cell: (row) => bytes(row.buffered_bytes) },
    { key: "heard_ago", title: "Heard", first: -1, number: true, hint: "Time since the agent was heard last", cell: (row) => age(row.heard_ago) },
    { key: "connected_for", title: "Connected", first: -1, number: true, cell: (row) => age(row.connected_for) },
    ...(workers ? [worker] : []),
  ],
};

function connectionState(row) {
  if (row.state !== "stalled") return mark(row.state === "open" ? "good" : "calm", row.state);
  return mark("warn", `stalled ${span(row.stalled_for)}`, tag("small", "", SIDES[row.stalled_side]));
}

function through(row) {
  return tag("span", "", row.agent ?? `peer server ${row.server}`, tag("span", "faint", ` #${row.id}`));
}

export const connections = {
  path: "connections",
  rows: "connections",
  caption: "Connections",
  sort: "-stalled_for",
  one: () => "connection",
  nothing: "No connections at the moment.",
  id: (row) => JSON.stringify([row.worker, row.agent, row.server, row.id, row.destination]),
  columns: (workers) => [
    { key: "stalled_for", title: "State", first: -1, cell: connectionState },
    { key: "destination", title: "Destination", first: 1, style: "mono lead", cell: (row) => row.destination },
    { key: "agent", title: "Agent", first: 1, style: "mono", hint: "Agent or peer server, and the number of the connection on its tunnel", cell: through },
    { key: "age", title: "Age", first: 1, number: true, cell: (row) => age(row.age) },
    { key: "bytes_to_destination", title: "Sent", first: -1, number: true, hint: "Bytes to the destination", cell: (row) => bytes(row.bytes_to_destination) },
    { key: "bytes_from_destination", title: "Received", first: -1, number: true, hint: "Bytes from the destination", cell: (row) => bytes(row.bytes_from_destination) },
    { key: "buffered_bytes", title: "Buffered", first: -1, number: true, hint: "Bytes that wait in the server", cell: (row) => bytes(row.buffered_bytes) },
    { key: "origin", title: "Client", first: 1, style: "mono", cell: (row) => row.origin },
    ...(workers ? [worker] : []),
  ],
};

function reason(row) {
  return tag("span", "", row.text, tag("small", "", REASONS[row.reason] ?? row.reason));
}

export const failures = {
  caption: "Failed dials",
  sort: "ago",
  one: () => "different failure",
  more: byReason,
  nothing: "No dial has failed since the server started.",
  id: (row) => JSON.stringify([row.worker, row.reason, row.destination, row.agent, row.server, row.text]),
  columns: () => [
    { key: "ago", title: "Last", first: 1, cell: (row) => (row.ago < 2 ? "just now" : `${text(age(row.ago))} ago`) },
    { key: "count", title: "Times", first: -1, number: true, cell: (row) => count(row.count) },
    { key: "destination", title: "Destination", first: 1, style: "mono lead", cell: (row) => row.destination },
    { key: "text", title: "Why", first: 1, style: "wide", cell: reason },
    { key: "agent", title: "Agent", first: 1, style: "mono", cell: (row) => row.agent ?? (row.server ? `peer server ${row.server}` : "–") },
    { key: "took", title: "After", first: -1, number: true, hint: "Time from the request to the answer, in the last case", cell: (row) => latency(row.took || null) },
    { key: "origin", title: "Client", first: 1, style: "mono", hint: "Client of the last failed dial", cell: (row) => row.origin },
  ],
};

// TLS handshakes that failed because of a certificate, ours or the peer's: { listener, reason, count }.
export function refusals(overview) {
  return Object.entries(overview.handshake_failures ?? {}).flatMap(([listener, reasons]) => Object.entries(reasons)
    .filter(([reason]) => reason in REFUSALS)
    .map(([reason, count]) => ({ listener, reason, count })));
}

export const REFUSALS = {
  no_certificate: "no certificate",
  unknown_authority: "a certificate of another authority",
  expired: "an expired certificate",
  not_yet_valid: "a certificate that is not valid yet",
  wrong_purpose: "a certificate for another purpose",
  bad_certificate: "a certificate that is not accepted",
  refused_by_peer: "trust in another authority than this server's",
};

export function facts(overview) {
  const { memory, totals, agents: streams } = overview;
  const share = (used, budget) => `${text(bytes(used))} of ${text(bytes(budget))}`;
  return [
    ["Server", [
      ["Version", overview.version],
      ["Up", span(overview.uptime)],
      ["Strategies", overview.strategies.join(", ")],
      ...(overview.workers ?? []).map((each) => [`Worker ${each.worker}`, `${each.not_ready ?? "ready"}, up ${span(each.uptime)}`]),
    ]],
    ["Memory", [
      ["Buffered", share(memory.buffered_bytes, memory.buffer_budget_bytes), memory.buffered_bytes / memory.buffer_budget_bytes],
      ["Windows", share(memory.window_growth_bytes, memory.window_growth_budget_bytes), memory.window_growth_bytes / memory.window_growth_budget_bytes],
      ["For one agent", text(bytes(memory.tunnel_buffer_budget_bytes))],
      ["Resident", text(bytes(memory.resident_bytes))],
      ["Dials refused", text(count(memory.refused_dials))],
    ]],
    ["Since the start", [
      ["Dials", text(count(totals.dials))],
      ["Failed dials", text(count(totals.dial_failures))],
      ["Connections closed", text(count(totals.connections_closed))],
      ["To destinations", text(bytes(totals.bytes_to_destination))],
      ["From destinations", text(bytes(totals.bytes_from_destination))],
      ["Agents refused", text(count(streams.refused))],
      ["Certificates refused", text(count(refusals(overview).reduce((sum, each) => sum + each.count, 0)))],
    ]],
    ["Certificates expire in", overview.certificates.map((each) => [
      each.kind === "ca" ? `CA of ${each.end}` : `For ${each.end}`,
      each.expires_in > 0 ? span(each.expires_in) : `expired ${span(-each.expires_in)} ago`,
    ])],
  ];
}

function gone(overview) {
  const list = overview.agents_gone.map((agent) => {
    const lost = agent.connections ? `, with ${plural(agent.connections, "connection")}` : "";
    const words = ` left ${span(agent.ago)} ago${lost}: ${agent.reason || "no reason given"}`;
    return tag("li", "", tag("span", "mono", agent.id), tag("span", "quiet", words));
  });
  return list.length ? [tag("h2", "", "Left and did not return"), tag("ul", "", ...list)] : [];
}

function byReason(overview) {
  const list = Object.entries(overview.dial_failures.by_reason).map(([name, number]) =>
    tag("li", "", `${text(count(number))} × ${REASONS[name] ?? name} `, tag("span", "quiet mono", name)),
  );
  return list.length ? [tag("h2", "", "Since the start, by reason"), tag("ul", "", ...list)] : [];
}
