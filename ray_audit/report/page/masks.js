// Image, given mask, prediction and doubt as layers of one canvas.
const layers = { what: "given", opacity: 0.5, zoom: 1, outline: true };

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

async function maskView(row, bundle) {
  const names = ["image", "given", "predicted", "doubt"];
  const images = await Promise.all(names.map((name) => loadImage(bundle.pictures[name])));
  const held = Object.fromEntries(names.map((name, i) => [name, images[i]]));
  if (!held.image) return make("p", { class: "missing" }, bundle.reason ?? "This image cannot be shown.");
  const { width, height } = held.image;
  // Small images are drawn larger, so that a line around a region is finer than their pixels.
  const factor = Math.max(1, Math.floor(512 / Math.max(width, height)));
  const canvas = make("canvas", { width: width * factor, height: height * factor });
  canvas.setAttribute("role", "img");
  const wrap = make("div", { class: "canvas-wrap scroll" }, canvas);
  const redraw = () => {
    canvas.style.width = `${Math.round(width * factor * layers.zoom)}px`;
    canvas.style.maxWidth = layers.zoom > 1 ? "none" : "100%";
    canvas.setAttribute("aria-label", `Image with the layer: ${layers.what}`);
    const context = canvas.getContext("2d");
    context.setTransform(factor, 0, 0, factor, 0, 0);
    context.imageSmoothingEnabled = false;
    drawLayers(context, held, row, bundle, factor);
  };
  redraw();
  return make("div", {}, controls(held, redraw), wrap, legend(held));
}

function controls(held, redraw) {
  const change = (name, read) => (event) => {
    layers[name] = read(event.target);
    redraw();
  };
  const options = ["image", "given", "predicted", "doubt"].filter((name) => held[name]);
  if (!options.includes(layers.what)) layers.what = options[0];
  return make(
    "div",
    { class: "layers" },
    make("label", {}, "Layer ", make("select", { id: "layer", onchange: change("what", (t) => t.value) }, ...options.map((name) => make("option", { value: name, selected: name === layers.what }, { image: "none", given: "given mask", predicted: "prediction", doubt: "doubt (1 − p of the given class)" }[name])))),
    make("label", {}, "Opacity ", make("input", { type: "range", min: 0, max: 1, step: 0.05, value: layers.opacity, oninput: change("opacity", (t) => Number(t.value)) })),
    make("label", {}, "Zoom ", make("input", { type: "range", min: 1, max: 6, step: 0.5, value: layers.zoom, oninput: change("zoom", (t) => Number(t.value)) })),
    make("label", {}, make("input", { type: "checkbox", checked: layers.outline, onchange: change("outline", (t) => t.checked) }), " outline of the finding"),
  );
}

function drawLayers(context, held, row, bundle, factor) {
  const { width, height } = held.image;
  context.clearRect(0, 0, width, height);
  context.drawImage(held.image, 0, 0);
  const layer = layers.what === "image" ? null : held[layers.what];
  if (layer) {
    const values = indexPixels(layer);
    const image = new ImageData(layer.width, layer.height);
    values.forEach((value, i) => {
      const colour = layers.what === "doubt" ? [213, 94, 0] : rgbOf(value === 255 ? "#000" : classColour(value));
      const alpha = layers.what === "doubt" ? value / 255 : value === 255 ? 0 : 1;
      image.data.set([...colour, Math.round(255 * alpha * (layers.what === "doubt" ? 1 : layers.opacity))], 4 * i);
    });
    const small = make("canvas", { width: layer.width, height: layer.height });
    small.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(small, 0, 0, width, height);
  }
  if (layers.outline && row.box) drawRegion(context, row, bundle, factor);
}

// The region itself where its mask came along, else its box.
function drawRegion(context, row, bundle, factor) {
  const scale = bundle.scale ?? 1;
  const [left, top] = bundle.origin ?? [0, 0];
  const lines = bundle.regions?.[row.id] ? outline(bundle.regions[row.id], row.box) : boxLines(row.box);
  context.lineWidth = 1.5 / factor;
  for (const [colour, dash] of [["#ffffff", []], ["#000000", [3 / factor, 3 / factor]]]) {
    context.strokeStyle = colour;
    context.setLineDash(dash);
    context.beginPath();
    for (const [x0, y0, x1, y1] of lines) {
      context.moveTo((x0 - left) * scale, (y0 - top) * scale);
      context.lineTo((x1 - left) * scale, (y1 - top) * scale);
    }
    context.stroke();
  }
  context.setLineDash([]);
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

function legend(held) {
  const seen = new Set();
  for (const name of ["given", "predicted"]) if (held[name]) indexPixels(held[name]).forEach((value) => seen.add(value));
  const names = [...seen].filter((index) => index < report.run.classes.length).sort((a, b) => a - b);
  return make("p", { class: "quiet" }, ...names.flatMap((index) => [swatch(report.run.classes[index]), ` ${report.run.classes[index]}   `]));
}
