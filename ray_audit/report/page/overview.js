// The run as a whole.
function fact(value, text) {
  return make("div", { class: "fact" }, make("b", {}, value), text);
}

function table(headings, rows, caption, name = "") {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, make("bdi", {}, text))));
  const body = rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, name)), ...cells.map((cell) => (cell instanceof Node ? cell : make("td", {}, cell)))));
  return make("div", { class: "scroll" }, make("table", { class: name }, make("caption", { class: "quiet" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
}

const percent = (fraction) => (fraction > 0 && fraction < 0.001 ? "under 0.1%" : `${fixed(100 * fraction, 1)}%`);
const mostClasses = 30;

// Of many classes those that are confused most, in the order of the specification.
function mostConfused() {
  const counts = new Map();
  for (const { given, predicted, num } of report.class_pairs) for (const name of [given, predicted]) counts.set(name, (counts.get(name) ?? 0) + num);
  const chosen = new Set([...counts].sort((a, b) => b[1] - a[1]).slice(0, mostClasses).map(([name]) => name));
  return report.run.classes.filter((name) => chosen.has(name));
}

function pairTable() {
  const pairs = report.class_pairs;
  const names = mostConfused();
  const counts = new Map(pairs.map((pair) => [`${pair.given}\u0000${pair.predicted}`, pair.num]));
  const most = Math.max(1, ...pairs.map((pair) => pair.num));
  const rows = names.map((given) => [
    given,
    ...names.map((predicted) => {
      const num = counts.get(`${given}\u0000${predicted}`) ?? 0;
      const cell = make("td", {}, num ? String(num) : "");
      const shade = heat(Math.log1p(num) / Math.log1p(most));
      if (num) Object.assign(cell.style, { background: `rgb(${shade})`, color: shade[0] < 130 ? "#fff" : "#000" });
      return cell;
    }),
  ]);
  const unit = { dense: "pixels", frames: "frames" }[report.run.task] ?? "samples";
  const left = report.run.classes.length > names.length ? ` The ${names.length} classes that are confused most, of ${report.run.classes.length}.` : "";
  return table(["given ↓  predicted →", ...names], rows, `Given against predicted at the last checkpoint, ${unit}; equal pairs left out.${left}`);
}

function audited({ dataset, checkpoints }) {
  const uris = [dataset].flat();
  const more = uris.length > 1 ? ` and ${uris.length - 1} more` : "";
  const names = checkpoints.length > 1 ? `${checkpoints[0]} to ${checkpoints.at(-1)}` : (checkpoints[0] ?? "none");
  return make("p", { class: "audited" }, "Audited: ", make("bdi", {}, uris[0]), `${more}; checkpoints ${names}`);
}

function overview() {
  const { run } = report;
  const counts = run.counts;
  const facts = [
    fact(String(counts.entered), `samples entered: ${counts.scored} scored, ${counts.filtered} filtered, ${counts.failed} failed`),
    fact(String(numFindings), `findings${numFindings < run.findings.total ? ` shown, of ${run.findings.total}` : ""}`),
    run.estimate?.num_wrong != null ? fact(`≈ ${Math.round(run.estimate.num_wrong)}`, `wrong ${run.estimate.unit} estimated (${percent(run.estimate.fraction)})`) : null,
    fact(String(run.checkpoints.length), `checkpoints, ${run.protocol.replace("_", " ")} protocol`),
    fact(run.duration, "duration"),
  ];
  const parts = [make("div", { class: "facts" }, ...facts.filter(Boolean))];
  parts.push(audited(run));
  for (const note of run.notes) parts.push(make("p", {}, note));
  parts.push(make("h2", {}, "Scores"), make("div", { class: "plots" }, ...Object.entries(report.histograms).map(([name, one]) => histogramPlot(name, one))));
  if (report.class_pairs.length) parts.push(make("h2", {}, "Class pairs"), pairTable());
  const drawn = curves();
  const left = run.classes.length > drawn.length ? ` The ${drawn.length} that are learnt worst, of ${run.classes.length} classes.` : "";
  if (drawn.length) parts.push(make("h2", {}, "Learning curves"), make("p", { class: "quiet" }, `IoU of predictions with the given labels; dashed: the onset of memorisation (ADELE), where the fit is trusted.${left}`), make("div", { class: "plots" }, ...drawn));
  if (run.errors.length) parts.push(make("h2", {}, "Failures"), table(["shard", "sample", "stage", "what"], run.errors.map((one) => [one.shard, make("td", { class: "text" }, one.sample_id ?? ""), make("td", { class: "text" }, one.stage), make("td", { class: "text" }, one.message)]), `The first ${run.errors.length}; ${counts.failed} samples failed.`, "texts"));
  query("view-overview").replaceChildren(...parts);
}

// Classes with a curve, in the order of the specification; of many those that end lowest.
function curves() {
  const { iou, onset } = report.class_stats;
  const last = iou.at(-1) ?? [];
  const known = report.run.classes.map((name, k) => k).filter((k) => iou.some((row) => row[k] != null));
  const chosen = [...known].sort((a, b) => (last[a] ?? 0) - (last[b] ?? 0)).slice(0, 60).sort((a, b) => a - b);
  return chosen.map((k) => {
    const name = report.run.classes[k];
    const text = onset[k] == null ? "" : `, onset at ${fixed(onset[k], 1)}`;
    return make("figure", {}, curvePlot(name, iou.map((row) => row[k]), onset[k]), make("figcaption", {}, swatch(name), " ", make("bdi", {}, name), text));
  });
}
