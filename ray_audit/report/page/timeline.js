// A video on one line: given, predicted and suggested labels, loss by checkpoint and frame, scores.
const bandHeight = 16;

function unpack(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function timeline(video, rows, current) {
  const numFrames = video.given.length;
  const wrap = make("div", { class: "scroll" });
  const width = Math.max(320, Math.min(1100, query("detail").clientWidth - 60));
  const canvas = make("canvas", { width, height: 4 * bandHeight + heatHeight(video) + 118 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Timeline of ${numFrames} frames: labels, losses and scores; findings are marked`);
  const context = canvas.getContext("2d");
  const x = (frame) => 70 + ((frame - video.first) / video.step / Math.max(1, numFrames)) * (width - 80);
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--quiet");
  context.font = "11px system-ui";
  let top = 4;
  for (const [name, values] of [["given", video.given], ["predicted", video.predicted], ["suggested", video.suggested]]) {
    label(context, ink, name, top + 12);
    runsOf(values).forEach(([start, end, value]) => {
      context.fillStyle = value < 0 ? style.getPropertyValue("--line") : classColour(value);
      context.fillRect(x(video.first + start * video.step), top, x(video.first + end * video.step) - x(video.first + start * video.step), bandHeight - 3);
    });
    top += bandHeight;
  }
  label(context, ink, "findings", top + 12);
  for (const row of rows) {
    context.fillStyle = row.id === current.id ? style.getPropertyValue("--reject") : ink;
    context.fillRect(x(row.start), top + 3, Math.max(2, x(row.end) - x(row.start)), row.id === current.id ? 9 : 5);
  }
  top += bandHeight;
  drawHeat(context, video, x, top, width, ink);
  top += heatHeight(video) + 8;
  drawLine(context, video.csl, video, x, top, 40, style.getPropertyValue("--accent"), ink, "CSL (nat)");
  if (video.order) drawLine(context, video.order, video, x, top + 48, 40, style.getPropertyValue("--warn"), ink, "order (nat)");
  label(context, ink, `frame ${video.first}`, top + 106, 70);
  label(context, ink, `${video.first + (numFrames - 1) * video.step}`, top + 106, width - 40);
  canvas.addEventListener("click", (event) => {
    const scale = width / canvas.getBoundingClientRect().width;
    const frame = video.first + (((event.offsetX * scale - 70) / (width - 80)) * numFrames * video.step);
    const hit = rows.find((row) => frame >= row.start && frame < row.end);
    if (hit) list.select(hit.index);
  });
  wrap.append(canvas);
  return wrap;
}

const heatHeight = (video) => Math.min(90, 4 * video.num_checkpoints + 8);

function label(context, ink, text, y, x = 0) {
  context.fillStyle = ink;
  context.fillText(text, x, y);
}

function runsOf(values) {
  const found = [];
  for (let start = 0; start < values.length; ) {
    let end = start + 1;
    while (end < values.length && values[end] === values[start]) end++;
    found.push([start, end, values[start]]);
    start = end;
  }
  return found;
}

function drawHeat(context, video, x, top, width, ink) {
  const numFrames = video.given.length;
  const losses = unpack(video.losses);
  const image = new ImageData(numFrames, video.num_checkpoints);
  for (let i = 0; i < losses.length; i++) image.data.set([...heat(losses[i] / 255), 255], 4 * i);
  const small = make("canvas", { width: numFrames, height: video.num_checkpoints });
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, x(video.first), top, width - 80, heatHeight(video) - 8);
  label(context, ink, "loss, by", top + 12);
  label(context, ink, "checkpoint ↓", top + 25);
}

function drawLine(context, values, video, x, top, height, colour, ink, name) {
  const known = values.filter((value) => value != null);
  const most = Math.max(...known, 0.1);
  label(context, ink, name, top + 12);
  label(context, ink, `max ${short(most)}`, top + 25);
  context.strokeStyle = colour;
  context.beginPath();
  values.forEach((value, i) => {
    if (value == null) return;
    context.lineTo(x(video.first + (i + 0.5) * video.step), top + height - (value / most) * (height - 4));
  });
  context.stroke();
}
