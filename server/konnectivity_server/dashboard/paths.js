// Matrix of paths: a row for each agent, a column for each class of probes, the worst row first.

import { mark, tag } from "./dom.js";
import { age, latency, span, text } from "./format.js";

const KINDS = { passing: "good", suspect: "warn", failing: "bad", unknown: "calm", skipped: "calm" };
const WORDS = { unknown: "not probed yet", skipped: "no such identifier" };
const EXPIRY_S = 7 * 86400;

export const PATH_REASONS = {
  agent_frozen: "agent frozen",
  agent_lost: "agent lost",
  agent_overloaded: "agent has no room",
  policy: "policy of the agent",
  dns: "DNS",
  no_route: "no route",
  refused: "TCP refused",
  no_answer: "no answer to TCP",
  closed: "closed by the target",
  silent: "target is silent",
  tls: "TLS",
  certificate: "certificate",
  authorisation: "authorisation",
  http: "HTTP",
  other: "other",
};

function cell(path) {
  if (path.state === "passing") {
    const seconds = Object.values(path.seconds).reduce((sum, each) => sum + each, 0);
    return mark("good", text(latency(seconds)), expiry(path.certificate));
  }
  const words = path.reason === null ? WORDS[path.state] ?? path.state : PATH_REASONS[path.reason] ?? path.reason;
  return mark(KINDS[path.state] ?? "warn", words, path.text === null ? null : tag("small", "", path.text));
}

function expiry(certificate) {
  if (certificate === null || certificate.expires_in > EXPIRY_S) return null;
  return tag("small", "", `${certificate.subject} expires in ${span(certificate.expires_in)}`);
}

export const paths = {
  path: "paths",
  rows: "paths",
  caption: "Paths",
  sort: "state",
  one: () => "agent",
  nothing: "No paths: no agent is connected, or the server has no --probe.",
  id: (row) => JSON.stringify([row.worker, row.agent, row.peer]),
  shape: (list) => list.classes.map((each) => each.name).join("\n"),
  columns: (workers, list) => [
    { key: "state", title: "State", first: 1, cell: (row) => mark(KINDS[row.state] ?? "warn", row.state) },
    { key: "agent", title: "Agent", first: 1, style: "mono lead", cell: (row) => tag("span", "", row.agent, tag("small", "", row.peer)) },
    { key: "since", title: "Since", first: -1, number: true, hint: "Time since the state began", cell: (row) => age(row.since) },
    ...list.classes.map(({ name, target, kind, detail }) => (
      { key: null, title: name, style: "wide", hint: `${kind} ${target} ${detail}`.trim(), cell: (row) => cell(row.paths[name]) })),
    ...(workers ? [{ key: null, title: "Worker", number: true, cell: (row) => [String(row.worker), ""] }] : []),
  ],
};
