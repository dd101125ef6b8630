// Image, given mask, prediction and suspicion as layers of one canvas, and side by side.
const layers = { what: "given", opacity: 0.4, zoom: 1, outline: true, close: true };
const layerNames = { image: "image alone", given: "given mask", predicted: "prediction", doubt: "suspicion: 1 − p of the given class" };
const doubtColour = [213, 94, 0];

function loadImage(address) {
  return new Promise((resolve) => {
    if (!address) return resolve(null);
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null);
    image.src = address;
  });
}

function indexPixels(image) {
  const canvas = make("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return Uint8Array.from({ length: image.width * image.height }, (_, i) => data[4 * i]);
}

// Pictures of a whole image or of a close-up, with the layers painted once.
async function heldOf(part) {
  const names = Object.keys(layerNames);
  const images = await Promise.all(names.map((name) => loadImage(part.pictures?.[name])));
  const held = { scale: part.scale ?? 1, origin: part.origin ?? [0, 0], image: images[0], painted: {}, classes: [] };
  if (!held.image) return null;
  names.slice(1).forEach((name, i) => {
    if (!images[i + 1]) return;
    const values = indexPixels(images[i + 1]);
    if (name !== "doubt") held.classes.push(...new Set(values));
    held.painted[name] = paint(images[i + 1], values, name === "doubt");
  });
  return held;
}

function paint({ width, height }, values, isDoubt) {
  const image = new ImageData(width, height);
  const palette = new Uint8ClampedArray(4 * 256);
  for (let value = 0; value < 256; value++) {
    if (isDoubt) palette.set([...doubtColour, value], 4 * value);
    else if (value < 255) palette.set([...rgbOf(classColour(value)), 255], 4 * value);
  }
  const colours = new Uint32Array(palette.buffer);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(values, (value) => colours[value]));
  const canvas = make("canvas", { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

async function maskView(row, bundle) {
  const [whole, close] = await Promise.all([heldOf(bundle), bundle.closeups?.[row.id] ? heldOf(bundle.closeups[row.id]) : null]);
  if (!whole && !close) return make("p", { class: "missing" }, bundle.reason ?? "This image cannot be shown.");
  const lines = row.box ? (bundle.regions?.[row.id] ? outline(bundle.regions[row.id], row.box) : boxLines(row.box)) : [];
  const stage = make("div", { class: "canvas-wrap", tabIndex: 0, role: "group", "aria-label": "Picture, scrolls when enlarged" });
  const small = make("div", { class: "small-layers" });
  const redraw = () => {
    const held = (layers.close && close) || whole || close;
    stage.replaceChildren(layerCanvas(held, lines, layers.what, 512, layers.zoom));
    small.replaceChildren(...Object.keys(layerNames).filter((what) => what === "image" || held.painted[what]).map((what) => layerButton(held, lines, what, redraw)));
  };
  redraw();
  return make("div", {}, controls(close && whole, redraw), make("div", { class: "stage" }, stage, small), classLegend(new Set([...(whole?.classes ?? []), ...(close?.classes ?? [])])));
}

function controls(hasBoth, redraw) {
  const change = (name, read) => (event) => {
    layers[name] = read(event.target);
    redraw();
  };
  const box = (id, name, text) => make("label", {}, make("input", { id, type: "checkbox", checked: layers[name], onchange: change(name, (t) => t.checked) }), ` ${text}`);
  const slide = (id, name, text, limits) => make("label", {}, `${text} `, make("input", { id, type: "range", ...limits, value: layers[name], oninput: change(name, (t) => Number(t.value)) }));
  return make(
    "div",
    { class: "layers" },
    hasBoth ? box("close", "close", "close-up") : null,
    slide("opacity", "opacity", "Opacity", { min: 0, max: 1, step: 0.05 }),
    slide("zoom", "zoom", "Zoom", { min: 1, max: 6, step: 0.5 }),
    box("outline", "outline", "outline of the finding"),
  );
}

// Each layer small, beside the others; a press shows it large.
function layerButton(held, lines, what, redraw) {
  const choose = () => {
    layers.what = what;
    redraw();
    document.getElementById(`layer-${what}`)?.focus();
  };
  return make("button", { id: `layer-${what}`, class: "layer", "aria-pressed": String(what === layers.what), onclick: choose }, layerCanvas(held, lines, what, 150, 1), make("span", {}, layerNames[what]));
}

function layerCanvas(held, lines, what, most, zoom) {
  const { width, height } = held.image;
  // Drawn larger than it is, so that a line around a region is finer than the pixels.
  const factor = most / Math.max(width, height);
  const canvas = make("canvas", { width: Math.round(width * factor * zoom), height: Math.round(height * factor * zoom) });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${layerNames[what]}${layers.outline ? ", with the outline of the finding" : ""}`);
  if (zoom > 1) canvas.style.maxWidth = "none";
  const context = canvas.getContext("2d");
  context.scale(factor * zoom, factor * zoom);
  context.imageSmoothingEnabled = false;
  context.drawImage(held.image, 0, 0);
  if (what !== "image" && held.painted[what]) {
    context.globalAlpha = layers.opacity;
    context.drawImage(held.painted[what], 0, 0, width, height);
    context.globalAlpha = 1;
  }
  if (layers.outline) drawLines(context, held, lines, factor * zoom);
  return canvas;
}

// White under black dashes: seen on any picture.
function drawLines(context, { scale, origin: [left, top] }, lines, factor) {
  for (const [colour, width, dash] of [["#ffffff", 3, []], ["#000000", 1.5, [4 / factor, 4 / factor]]]) {
    context.strokeStyle = colour;
    context.lineWidth = width / factor;
    context.setLineDash(dash);
    context.beginPath();
    for (const [x0, y0, x1, y1] of lines) {
      context.moveTo((x0 - left) * scale, (y0 - top) * scale);
      context.lineTo((x1 - left) * scale, (y1 - top) * scale);
    }
    context.stroke();
  }
}

const boxLines = ([x0, y0, x1, y1]) => [[x0, y0, x1, y0], [x1, y0, x1, y1], [x1, y1, x0, y1], [x0, y1, x0, y0]];

// COCO's compressed run lengths: columns from the top, zeros first.
function runLengths(text) {
  const counts = [];
  for (let place = 0; place < text.length; ) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = text.charCodeAt(place++) - 48;
      value |= (code & 0x1f) << shift;
      shift += 5;
    } while (code & 0x20);
    if (code & 0x10) value |= -1 << shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
  }
  return counts;
}

// Edges between the region and the rest, within the region's box.
function outline({ counts, height }, [x0, y0, x1, y1]) {
  const width = x1 - x0 + 2;
  const inside = new Uint8Array(width * (y1 - y0 + 2));
  let place = 0;
  runLengths(counts).forEach((length, i) => {
    if (i % 2) {
      for (let at = place; at < place + length; at++) {
        const x = Math.floor(at / height) - x0 + 1;
        const y = (at % height) - y0 + 1;
        inside[y * width + x] = 1;
      }
    }
    place += length;
  });
  const lines = [];
  for (let y = 1; y < y1 - y0 + 2; y++) {
    for (let x = 1; x < width; x++) {
      const here = inside[y * width + x];
      if (here !== inside[y * width + x - 1]) lines.push([x + x0 - 1, y + y0 - 1, x + x0 - 1, y + y0]);
      if (here !== inside[(y - 1) * width + x]) lines.push([x + x0 - 1, y + y0 - 1, x + x0, y + y0 - 1]);
    }
  }
  return lines;
}
