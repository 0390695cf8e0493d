// Small plots of the last minutes: lines in SVG, the newest at the right edge.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 60;

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// `describe(values, secondsAgo)` returns the text for the values under the pointer, `now(series)` the headline.
export class Plot {
  constructor({ title, names, kinds, least, scale, now, describe }) {
    Object.assign(this, { names, least, scale, now, describe, series: {}, samples: 2, at: null });
    this.element = document.createElement("figure");
    this.element.className = "plot";
    const head = document.createElement("figcaption");
    this.headline = document.createElement("span");
    this.headline.className = "headline";
    const name = document.createElement("span");
    name.className = "title";
    name.textContent = title;
    head.append(name, this.headline);
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.lines = names.map((_, index) => {
      const area = shape("path", { class: `area ${kinds[index]}` });
      const line = shape("path", { class: `line ${kinds[index]}`, "vector-effect": "non-scaling-stroke" });
      this.svg.append(area, line);
      return [area, line];
    });
    this.cursor = shape("line", { class: "cursor", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
    this.cursor.setAttribute("visibility", "hidden");
    this.svg.append(this.cursor);
    this.foot = document.createElement("p");
    this.foot.className = "foot";
    const drawing = document.createElement("div");
    drawing.className = "drawing";
    drawing.append(this.svg);
    this.element.append(head, drawing, this.foot);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
  }

  show(series, samples) {
    this.series = series;
    this.samples = samples;
    const largest = Math.max(this.least, ...this.names.map((name) => Math.max(0, ...series[name])));
    this.names.forEach((name, index) => this.draw(this.lines[index], series[name], largest));
    this.largest = largest;
    this.headline.replaceChildren(...this.now(series));
    this.svg.setAttribute("aria-label", this.headline.textContent);
    this.caption();
  }

  draw([area, line], values, largest) {
    const x = (index) => ((this.samples - values.length + index) / (this.samples - 1)) * WIDTH;
    const y = (value) => HEIGHT - 1 - (value / largest) * (HEIGHT - 4);
    const points = values.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
    // Zero is not drawn, so that an empty series does not attract attention.
    const drawn = values.map((value, index) => index > 0 && (value > 0 || values[index - 1] > 0));
    line.setAttribute("d", points.map((point, index) => `${drawn[index] ? "L" : "M"}${point}`).join(""));
    area.setAttribute("d", points.length ? `M${points.join("L")}L${WIDTH} ${HEIGHT}L${x(0).toFixed(1)} ${HEIGHT}Z` : "");
  }

  point(event) {
    this.at = null;
    if (event !== null) {
      const box = this.svg.getBoundingClientRect();
      this.at = Math.round((1 - (event.clientX - box.left) / box.width) * (this.samples - 1));
    }
    this.caption();
  }

  caption() {
    const length = this.series[this.names[0]]?.length ?? 0;
    const known = this.at !== null && this.at >= 0 && this.at < length;
    this.cursor.setAttribute("visibility", known ? "visible" : "hidden");
    if (known) {
      const x = (1 - this.at / (this.samples - 1)) * WIDTH;
      this.cursor.setAttribute("x1", x);
      this.cursor.setAttribute("x2", x);
      const values = this.names.map((name) => this.series[name][length - 1 - this.at]);
      this.foot.textContent = `${this.at} s ago: ${this.describe(values)}`;
    } else {
      this.foot.textContent = `last 5 min, up to ${this.scale(this.largest ?? 0)}`;
    }
  }
}
