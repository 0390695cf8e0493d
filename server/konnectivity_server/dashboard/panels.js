// Panels below the tabs: lists, and facts about the server.

import { tag, say } from "./dom.js";
import { plural } from "./format.js";
import { Table } from "./table.js";
import * as views from "./views.js";

// `asked`: sort and match of the list.
export class ListPanel {
  constructor(view, asked, onSort) {
    Object.assign(this, { view, asked, onSort });
    this.spec = views[view];
    this.note = tag("p", "note");
    this.more = tag("div", "more");
    this.frame = tag("div", "frame");
    this.element = tag("div", "", this.frame, this.note, this.more);
    this.table = null;
  }

  build(workers, shape, list) {
    this.workers = workers;
    this.shape = shape;
    const columns = this.spec.columns(workers, list);
    this.table = new Table({ columns, id: this.spec.id, caption: this.spec.caption, onSort: this.onSort });
    this.frame.replaceChildren(this.table.element);
  }

  show(overview, list) {
    const workers = Boolean(overview.workers);
    const shape = this.spec.shape?.(list);
    if (this.table === null || this.workers !== workers || this.shape !== shape) this.build(workers, shape, list);
    const { rows, total, matching } = this.found(overview, list);
    this.table.sorted(this.asked.sort);
    this.table.show(rows);
    this.frame.hidden = rows.length === 0;
    say(this.note, this.words(overview, rows.length, matching, total));
    if (this.spec.more) update(this.more, this.spec.more(overview));
  }

  found(overview, list) {
    if (list !== null) return { rows: list[this.spec.rows], total: list.total, matching: list.matching };
    const all = overview.dial_failures.recent;
    const wanted = this.asked.match.toLowerCase();
    const rows = all.filter((row) => Object.values(row).join("\n").toLowerCase().includes(wanted));
    const by = this.asked.sort.replace(/^-/, "");
    const sign = this.asked.sort.startsWith("-") ? -1 : 1;
    const value = (row) => row[by] ?? "";
    rows.sort((one, other) => sign * (value(one) < value(other) ? -1 : value(one) > value(other) ? 1 : 0));
    return { rows, total: all.length, matching: rows.length };
  }

  words(overview, shown, matching, total) {
    if (total === 0) return this.spec.nothing;
    const all = plural(total, this.spec.one(overview));
    if (matching === 0) return `None of ${all} matches the filter.`;
    if (shown < matching) return `The first ${shown.toLocaleString("en")} of ${matching.toLocaleString("en")}${matching < total ? ` that match, of ${all}` : ""}. A filter finds the others.`;
    return matching < total ? `${matching.toLocaleString("en")} of ${all}.` : `${all}.`;
  }
}

export class ServerPanel {
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
    update(this.element, groups);
  }
}

// Unchanged content is left in place, so that a selection stays.
function update(element, children) {
  const words = children.map((child) => child.textContent).join("\n");
  if (element.shown === words) return;
  element.shown = words;
  element.replaceChildren(...children);
}
