// Table that is updated in place: known rows stay, and only changed cells are written.
//
// A column: key (what it is sorted by; null: not at all), title, cell(row) -> string, [number, unit] or a node;
// number: right-aligned; first: the order of the first click, 1 ascending, -1 descending.

export function cellText(value) {
  return Array.isArray(value) ? value.filter(Boolean).join(" ") : value;
}

export class Table {
  constructor({ columns, id, caption, onSort }) {
    Object.assign(this, { columns, id, onSort, rows: new Map() });
    this.element = document.createElement("table");
    const title = this.element.createCaption();
    title.className = "unseen";
    title.textContent = caption;
    const head = this.element.createTHead().insertRow();
    this.heads = columns.map((column) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.className = column.number ? "number" : "";
      if (column.key === null) {
        cell.textContent = column.title;
      } else {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = column.title;
        button.addEventListener("click", () => onSort(column));
        cell.append(button);
      }
      if (column.hint) cell.title = column.hint;
      head.append(cell);
      return cell;
    });
    this.body = this.element.createTBody();
  }

  sorted(sort) {
    const key = sort.replace(/^-/, "");
    this.columns.forEach((column, index) => {
      if (column.key === key) {
        this.heads[index].setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
      } else {
        this.heads[index].removeAttribute("aria-sort");
      }
    });
  }

  show(rows) {
    const kept = new Map();
    const order = [];
    for (const row of rows) {
      let id = this.id(row);
      while (kept.has(id)) id += "'";
      const line = this.rows.get(id) ?? this.made();
      kept.set(id, line);
      order.push(line);
      this.fill(line, row);
    }
    for (const [id, line] of this.rows) if (!kept.has(id)) line.remove();
    this.rows = kept;
    order.forEach((line, index) => {
      if (this.body.children[index] !== line) this.body.insertBefore(line, this.body.children[index] ?? null);
    });
  }

  made() {
    const line = document.createElement("tr");
    for (const column of this.columns) {
      const cell = line.insertCell();
      cell.className = [column.number ? "number" : "", column.style ?? ""].join(" ").trim();
      cell.dataset.title = column.title;
    }
    return line;
  }

  fill(line, row) {
    this.columns.forEach((column, index) => {
      const cell = line.cells[index];
      const value = column.cell(row);
      const text = value instanceof Node ? value.textContent + (value.className ?? "") : cellText(value);
      if (cell.shown === text) return;
      cell.shown = text;
      if (value instanceof Node) cell.replaceChildren(value);
      else if (Array.isArray(value)) cell.replaceChildren(...measured(value));
      else cell.textContent = value;
    });
  }
}

// A number and its unit, each in its own column.
function measured([number, unit]) {
  const [figure, measure] = [document.createElement("span"), document.createElement("span")];
  figure.textContent = number;
  measure.className = "unit";
  measure.textContent = unit ? ` ${unit}` : "";
  return unit === "" ? [figure] : [figure, measure];
}
