// A video on one line: given, predicted and suggested labels, loss by checkpoint and frame, scores.
// Frames with masks, and slices of volumes, have no one label.
const bandHeight = 16;
const leftOfBands = 84;

function unpack(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

const heatHeight = (video) => Math.min(90, 4 * video.num_checkpoints + 8);
const tokenOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);

function timeline(video, rows, current) {
  const numFrames = video.csl.length;
  const lines = [["csl", "accent", "CSL, nat"], ["order", "warn", "order, nat"], ["softmin", "warn", "soft-min"]].filter(([name]) => video[name]);
  const width = Math.max(320, Math.min(1100, query("detail").clientWidth - 44));
  const height = (video.given ? 4 : 1) * bandHeight + heatHeight(video) + 28 + 48 * lines.length;
  const ratio = window.devicePixelRatio || 1;
  const canvas = make("canvas", { class: "timeline", width: width * ratio, height: height * ratio });
  canvas.style.width = `${width}px`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", timelineText(video, rows));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "11px system-ui, sans-serif";
  const across = width - leftOfBands - 12;
  const x = (frame) => leftOfBands + ((frame - video.first) / video.step / Math.max(1, numFrames)) * across;
  const pen = { context, video, x, across, ink: tokenOf("quiet") };
  let top = video.given ? drawBands(pen, 4) : 4;
  top = drawFindings(pen, rows, current, top);
  top = drawHeat(pen, top) + 8;
  for (const [name, token, title] of lines) top = drawLine(pen, video[name], top, tokenOf(token), title);
  drawFrames(pen, top, numFrames);
  canvas.addEventListener("click", (event) => {
    const place = ((event.offsetX / canvas.clientWidth) * width - leftOfBands) / across;
    const hit = nearest(rows, video.first + place * numFrames * video.step, (6 / across) * numFrames * video.step);
    if (hit) list.select(hit.index);
  });
  const note = "Loss: pale is 0, dark is the video's 99% quantile" + (video.loss_max == null ? "" : ` (${short(video.loss_max)} nat)`) + " and above. A click on a finding shows it.";
  return make("div", { class: "scroll" }, canvas, make("p", { class: "quiet" }, note));
}

function timelineText(video, rows) {
  const last = video.first + (video.csl.length - 1) * video.step;
  const found = rows.map((row) => `frames ${row.start} to ${row.end - 1} given ${row.given}, suggested ${row.suggested ?? "nothing"}`);
  return `Timeline of frames ${video.first} to ${last}. Findings: ${found.join("; ")}`;
}

// The finding at a frame, else one that starts or ends a few pixels beside it.
function nearest(rows, frame, slack) {
  return rows.find((row) => frame >= row.start && frame < row.end) ?? rows.find((row) => frame >= row.start - slack && frame < row.end + slack);
}

function label({ context, ink }, text, y, x = 0) {
  context.fillStyle = ink;
  context.fillText(text, x, y);
}

function drawBands(pen, top) {
  const { context, video, x } = pen;
  const empty = tokenOf("line");
  for (const name of ["given", "predicted", "suggested"]) {
    label(pen, name, top + 11);
    runsOf(video[name]).forEach(([start, end, value]) => {
      const left = x(video.first + start * video.step);
      context.fillStyle = value < 0 ? empty : classColour(value);
      context.fillRect(left, top, x(video.first + end * video.step) - left, bandHeight - 3);
    });
    top += bandHeight;
  }
  return top;
}

function drawFindings(pen, rows, current, top) {
  label(pen, "findings", top + 11);
  for (const row of rows) {
    const isCurrent = row.id === current.id;
    pen.context.fillStyle = isCurrent ? tokenOf("reject") : pen.ink;
    pen.context.fillRect(pen.x(row.start), top + (isCurrent ? 2 : 5), Math.max(3, pen.x(row.end) - pen.x(row.start)), isCurrent ? 10 : 4);
  }
  return top + bandHeight;
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

function drawHeat(pen, top) {
  const { context, video, x, across } = pen;
  const numFrames = video.csl.length;
  const losses = unpack(video.losses);
  const image = new ImageData(numFrames, video.num_checkpoints);
  for (let i = 0; i < losses.length; i++) image.data.set([...heat(losses[i] / 255), 255], 4 * i);
  const small = make("canvas", { width: numFrames, height: video.num_checkpoints });
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, x(video.first), top, across, heatHeight(video) - 8);
  label(pen, "loss by", top + 11);
  label(pen, "checkpoint ↓", top + 24);
  return top + heatHeight(video);
}

function drawLine(pen, values, top, colour, name) {
  const { context, video, x } = pen;
  const height = 40;
  const known = values.filter((value) => value != null);
  const most = Math.max(...known, 0.1);
  label(pen, name, top + 12);
  label(pen, `0 to ${short(most)}`, top + 25);
  context.strokeStyle = tokenOf("line");
  context.lineWidth = 1;
  context.strokeRect(leftOfBands, top + height, pen.across, 0);
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.beginPath();
  values.forEach((value, i) => {
    if (value == null) return;
    context.lineTo(x(video.first + (i + 0.5) * video.step), top + height - (value / most) * (height - 4));
  });
  context.stroke();
  // One frame makes no line.
  if (known.length === 1) context.fillRect(x(video.first + 0.5 * video.step) - 2, top + 2, 4, 4);
  return top + 48;
}

function drawFrames(pen, top, numFrames) {
  const { context, video, x } = pen;
  const last = video.first + (numFrames - 1) * video.step;
  label(pen, "frame", top + 10);
  label(pen, `${video.first}`, top + 10, leftOfBands);
  if (numFrames < 2) return;
  context.textAlign = "center";
  if (pen.across > 400) for (const part of [0.25, 0.5, 0.75]) {
    const frame = Math.round(video.first + part * (last - video.first));
    label(pen, `${frame}`, top + 10, x(frame));
  }
  context.textAlign = "right";
  label(pen, `${last}`, top + 10, x(last + video.step));
}
