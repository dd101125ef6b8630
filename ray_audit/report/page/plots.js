// Small plots with labelled axes, as SVG.
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function plot({ width = 420, height = 170, x, y, xLabel, yLabel, xTexts, title }, draw) {
  const box = { left: 44, right: width - 10, top: 10, bottom: height - 34 };
  const px = (value) => box.left + ((value - x[0]) / (x[1] - x[0] || 1)) * (box.right - box.left);
  const py = (value) => box.bottom - ((value - y[0]) / (y[1] - y[0] || 1)) * (box.bottom - box.top);
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  root.append(
    svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
    svg("line", { class: "axis", x1: box.left, x2: box.left, y1: box.top, y2: box.bottom }),
    svg("text", { x: (box.left + box.right) / 2, y: height - 4, "text-anchor": "middle" }, xLabel),
    svg("text", { x: 10, y: (box.top + box.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 10 ${(box.top + box.bottom) / 2})` }, yLabel),
  );
  const ends = x[0] === x[1] ? [[x[0], "start"]] : [[x[0], "start"], [x[1], "end"]];
  ends.forEach(([value, anchor], i) => root.append(svg("text", { x: px(value), y: box.bottom + 14, "text-anchor": anchor }, xTexts?.[i] ?? short(value))));
  for (const value of y) root.append(svg("text", { x: box.left - 4, y: py(value) + 4, "text-anchor": "end" }, short(value)));
  draw(root, px, py, box);
  return root;
}

const short = (value) => (Number.isInteger(value) ? `${value}` : Number(value).toPrecision(2));
const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function trajectoryPlot(losses, band, given) {
  const most = Math.max(...losses, ...(band ? band.high : []), 0.1);
  const spec = { x: [1, losses.length], y: [0, most], xLabel: "checkpoint", yLabel: "loss (nat)", title: `Loss at each checkpoint against the class ${given}` };
  return plot(spec, (root, px, py) => {
    if (band) {
      const upper = band.high.map((value, i) => [px(i + 1), py(value)]);
      const lower = band.low.map((value, i) => [px(i + 1), py(value)]).reverse();
      root.append(svg("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
      root.append(svg("path", { class: "median", d: path(band.middle.map((value, i) => [px(i + 1), py(value)])) }));
    }
    root.append(svg("path", { class: "line", d: path(losses.map((value, i) => [px(i + 1), py(value)])) }));
    losses.forEach((value, i) => root.append(svg("circle", { cx: px(i + 1), cy: py(value), r: 2.5, fill: "var(--accent)" })));
  });
}

function histogramPlot(name, { edges, counts, unit }) {
  const spec = { x: [edges[0], edges.at(-1)], y: [0, Math.max(...counts, 1)], xLabel: unit ? `${name} (${unit})` : name, yLabel: "samples", width: 300, height: 150, title: `Distribution of ${name}` };
  return plot(spec, (root, px, py, box) => {
    counts.forEach((count, i) => {
      const left = px(edges[i]);
      root.append(svg("rect", { class: "bar", x: left, y: py(count), width: Math.max(1, px(edges[i + 1]) - left - 1), height: box.bottom - py(count) }));
    });
  });
}

// Findings of each kind by night; lines differ in dash and mark, not in colour alone.
function trendPlot(nights, kinds) {
  const most = Math.max(1, ...nights.flatMap((night) => kinds.map((kind) => night.by_kind[kind] ?? 0)));
  const dates = nights.map((night) => night.run_id.slice(0, night.run_id.lastIndexOf("-")));
  const spec = { x: [0, nights.length - 1], y: [0, most], xLabel: "night", yLabel: "findings", xTexts: [dates[0], dates.at(-1)], width: 560, height: 220, title: `Findings of each kind, ${dates[0]} to ${dates.at(-1)}` };
  return plot(spec, (root, px, py) => {
    kinds.forEach((kind, k) => {
      const points = nights.map((night, i) => [px(i), py(night.by_kind[kind] ?? 0)]);
      root.append(svg("path", { class: "trend", d: path(points), stroke: classColour(k), "stroke-dasharray": dashes[k % dashes.length] }));
      points.forEach(([cx, cy]) => root.append(svg("circle", { cx, cy, r: 3, fill: classColour(k) })));
    });
  });
}
const dashes = ["none", "6 3", "2 3", "8 3 2 3"];

function dashMark(k) {
  return svg("svg", { width: 30, height: 10, "aria-hidden": "true" }, svg("line", { class: "trend", x1: 1, x2: 29, y1: 5, y2: 5, stroke: classColour(k), "stroke-dasharray": dashes[k % dashes.length] }));
}

function curvePlot(name, values, onset) {
  const known = values.filter((value) => value != null);
  const spec = { x: [1, values.length], y: [0, 1], xLabel: "checkpoint", yLabel: "IoU", width: 260, height: 140, title: `Learning curve of ${name}` };
  return plot(spec, (root, px, py, box) => {
    if (known.length) root.append(svg("path", { class: "line", d: path(values.map((value, i) => [px(i + 1), py(value ?? 0)])) }));
    if (known.length) root.append(svg("circle", { cx: px(values.length), cy: py(values.at(-1) ?? 0), r: 2.5, fill: "var(--accent)" }));
    if (onset != null) root.append(svg("line", { class: "onset", x1: px(onset), x2: px(onset), y1: box.top, y2: box.bottom }));
  });
}
