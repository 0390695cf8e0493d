// Plots: the series of each, how they are drawn, and their texts.

import { tag } from "./dom.js";
import { rate, text } from "./format.js";
import { Plot } from "./plot.js";

const recent = (values, seconds) => values.slice(-seconds);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => (values.length ? sum(values) / values.length : 0);
const key = (kind, words) => tag("span", `key ${kind}`, words);

export const plots = [
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
      const worked = sum(recent(series.dials, 60));
      return [key("one", `${worked.toLocaleString("en")}/min`), key(failed ? "bad" : "none", `${failed.toLocaleString("en")}/min failed`)];
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
    describe: ([open, stalled]) => `${open.toLocaleString("en")} open, ${stalled} stalled`,
  }),
  new Plot({
    title: "Agents",
    names: ["agents"],
    kinds: ["one"],
    least: 4,
    scale: (value) => value.toLocaleString("en"),
    now: (series) => [key("one", `${(series.agents.at(-1) ?? 0).toLocaleString("en")} connected`)],
    describe: ([agents]) => `${agents.toLocaleString("en")} connected`,
  }),
];
