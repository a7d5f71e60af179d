"use strict";
// Charts, the table's order, and the frame that belongs to a time. All numbers come from the page itself.
(() => {
  const COLOURS = ["var(--first)", "var(--second)", "var(--third)"];
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 92, LEFT = 44, TOP = 6, BOTTOM = 8;

  function element(name, attributes = {}, parent = null) {
    const isShape = ["svg", "path", "line", "rect", "text"].includes(name);
    const made = isShape ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (parent) parent.append(made);
    return made;
  }

  function told(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
  }

  // Index of the value of an ascending list that is nearest to another
  function nearest(list, value) {
    let low = 0, high = list.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle] < value) low = middle + 1; else high = middle;
    }
    return low > 0 && value - list[low - 1] < list[low] - value ? low - 1 : low;
  }

  function boundsOf(chart) {
    if (chart.bounds) return chart.bounds;
    const values = chart.lines.flatMap((line) => line.y.filter((y) => y !== null));
    if (!values.length) return [0, 1];
    let low = Infinity, high = -Infinity;
    for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
    const room = Math.max((high - low) * 0.06, 0.05);
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
  }

  class Charts {
    constructor(section) {
      this.section = section;
      this.data = JSON.parse(section.querySelector("script").textContent);
      this.place = section.querySelector(".charts");
      this.view = section.querySelector(".view");
      this.frames = [...section.querySelectorAll(".frame")].sort((a, b) => a.dataset.place - b.dataset.place);
      this.places = this.frames.map((frame) => Number(frame.dataset.place));
      this.face = 0;
      this.chosen = null;
      if (!this.frames.length) section.querySelector(".panes").classList.add("alone");
      this.place.tabIndex = 0;
      this.place.setAttribute("aria-label", "Timelines; the left and right keys go from frame to frame");
      this.place.addEventListener("keydown", (event) => this.step(event));
      for (const frame of this.frames) frame.addEventListener("click", () => this.show(frame));
      this.draw();
      let width = this.place.clientWidth;
      new ResizeObserver(() => {
        if (Math.abs(this.place.clientWidth - width) > 1) { width = this.place.clientWidth; this.draw(); }
      }).observe(this.place);
      const first = section.querySelector('.worst .frame:not([data-score="-1"])') || this.frames[0];
      if (first) this.show(first);
    }

    draw() {
      this.place.replaceChildren();
      this.drawn = [];
      this.people();
      const width = Math.max(this.place.clientWidth, 120), [first, last] = this.data.range;
      this.toX = (value) => LEFT + (value - first) / ((last - first) || 1) * (width - LEFT - 4);
      this.toValue = (x) => first + (x - LEFT) / (width - LEFT - 4) * (last - first);
      for (const chart of (this.data.faces[this.face] || { charts: [] }).charts) this.chart(chart, width);
      const axis = element("div", { class: "axis", style: `padding-left:${LEFT}px` }, this.place);
      for (const value of [first, (first + last) / 2, last]) element("span", {}, axis).textContent = this.at(value);
      this.mark();
    }

    people() {
      const faces = this.data.faces;
      if (faces.length < 2) return;
      const row = element("div", { class: "people" }, this.place);
      row.append("Face");
      faces.forEach((face, number) => {
        const button = element("button", { type: "button", "aria-pressed": number === this.face }, row);
        button.textContent = face.face;
        button.addEventListener("click", () => { this.face = number; this.draw(); });
      });
      if (this.data.left_out) row.append(`and ${this.data.left_out} with fewer frames`);
    }

    chart(chart, width) {
      const box = element("div", { class: "chart" }, this.place), head = element("div", { class: "head" }, box);
      element("b", {}, head).textContent = chart.title;
      if (chart.unit) element("i", {}, head).textContent = chart.unit;
      const values = chart.lines.map((line, number) => {
        const value = element("span", { style: `--colour:${COLOURS[number]}` }, head);
        value.textContent = line.name;
        return value;
      });
      const svg = element("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": chart.title }, box);
      const [low, high] = boundsOf(chart), inner = HEIGHT - TOP - BOTTOM;
      const toY = (value) => TOP + (high - value) / (high - low) * inner;
      for (const [a, b] of this.data.gaps) {
        element("rect", { class: "gap", x: this.toX(a), y: 0, width: Math.max(1, this.toX(b) - this.toX(a)), height: HEIGHT }, svg);
      }
      for (const value of low < 0 && high > 0 ? [low, 0, high] : [low, high]) {
        element("line", { class: "grid", x1: LEFT, x2: width, y1: toY(value), y2: toY(value) }, svg);
        if (value === 0 && Math.min(toY(0) - TOP, TOP + inner - toY(0)) < 12) continue;
        element("text", { x: LEFT - 5, y: toY(value) + 4, "text-anchor": "end" }, svg).textContent = told(value);
      }
      for (const place of this.places) {
        element("line", { class: "tick", x1: this.toX(place), x2: this.toX(place), y1: HEIGHT - 5, y2: HEIGHT }, svg);
      }
      chart.lines.forEach((line, number) => element("path", { d: this.path(line, toY), style: `stroke:${COLOURS[number]}` }, svg));
      const cross = element("line", { class: "cross", y1: 0, y2: HEIGHT, visibility: "hidden" }, svg);
      const chosen = element("line", { class: "chosen", y1: 0, y2: HEIGHT, visibility: "hidden" }, svg);
      this.drawn.push({ chart, values, cross, chosen });
      const at = (event) => this.toValue((event.clientX - svg.getBoundingClientRect().left) * width / svg.clientWidth);
      svg.addEventListener("pointermove", (event) => this.hover(at(event)));
      svg.addEventListener("pointerleave", () => this.hover(null));
      svg.addEventListener("click", (event) => this.showNear(at(event)));
    }

    // A place on the axis of time in words
    at(place) {
      return this.data.unit === "s" ? `${told(place)} s` : `${this.data.unit} ${Math.round(place)}`;
    }

    path(line, toY) {
      if (this.data.unit === "image") {
        // One image says nothing about the next: short strokes, no line
        const known = line.y.map((y, number) => number).filter((number) => line.y[number] !== null);
        return known.map((number) => `M${(this.toX(line.x[number]) - 3).toFixed(1)},${toY(line.y[number]).toFixed(1)}h6`).join("");
      }
      let text = "", pen = "M", alone = null;
      line.y.forEach((y, number) => {
        if (y === null || line.x[number] === null) {
          if (alone !== null) text += "h1";
          pen = "M"; alone = null;
          return;
        }
        text += `${pen}${this.toX(line.x[number]).toFixed(1)},${toY(y).toFixed(1)}`;
        alone = pen === "M" ? number : null;
        pen = "L";
      });
      return alone !== null ? `${text}h1` : text;
    }

    hover(place) {
      for (const { chart, values, cross } of this.drawn) {
        cross.setAttribute("visibility", place === null ? "hidden" : "visible");
        if (place !== null) { cross.setAttribute("x1", this.toX(place)); cross.setAttribute("x2", this.toX(place)); }
        chart.lines.forEach((line, number) => {
          const value = place === null || !line.x.length ? "" : ` ${told(line.y[nearest(line.x, place)])}`;
          values[number].textContent = line.name + value;
        });
      }
    }

    showNear(place) {
      if (this.frames.length) this.show(this.frames[nearest(this.places, place)], place);
    }

    show(frame, asked = null) {
      for (const other of this.frames) other.removeAttribute("aria-current");
      frame.setAttribute("aria-current", "true");
      this.chosen = Number(frame.dataset.place);
      const source = frame.querySelector("img"), unit = this.data.unit;
      this.view.replaceChildren();
      element("img", { src: source.src, alt: source.alt }, this.view);
      const text = element("p", {}, this.view);
      const time = unit === "s" ? `, at ${this.chosen.toFixed(2)} s` : "";
      const far = asked === null ? "" : `; the nearest to ${this.at(asked)}`;
      text.textContent = source.alt + time + far;
      this.mark();
    }

    mark() {
      for (const { chosen } of this.drawn) {
        chosen.setAttribute("visibility", this.chosen === null ? "hidden" : "visible");
        if (this.chosen === null) continue;
        chosen.setAttribute("x1", this.toX(this.chosen));
        chosen.setAttribute("x2", this.toX(this.chosen));
      }
    }

    step(event) {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way || !this.frames.length) return;
      event.preventDefault();
      const now = this.frames.findIndex((frame) => frame.hasAttribute("aria-current"));
      this.show(this.frames[Math.min(Math.max(now + way, 0), this.frames.length - 1)]);
    }
  }

  function sortable(table) {
    const heads = [...table.querySelectorAll("th")], body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => (row.cells[column] && row.cells[column].dataset.value) || "";
      const rows = [...body.rows].sort((a, b) => {
        const [first, second] = [value(a), value(b)];
        if (first === "" || second === "") return (first === "") - (second === "");
        const order = column === 0 ? first.localeCompare(second, undefined, { numeric: true }) : first - second;
        return down ? -order : order;
      });
      body.append(...rows);
    }));
  }

  const table = document.getElementById("files");
  if (table) {
    sortable(table);
    table.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (link) document.querySelector(link.getAttribute("href")).open = true;
    });
  }
  if (/^#file\d+$/.test(location.hash)) {
    for (const section of document.querySelectorAll("details.file")) section.open = `#${section.id}` === location.hash;
  }
  for (const section of document.querySelectorAll("details.file")) {
    let charts = null;
    const begin = () => {
      if (section.open && !charts && section.querySelector("script")) charts = new Charts(section);
    };
    section.addEventListener("toggle", begin);
    begin();
  }
})();
