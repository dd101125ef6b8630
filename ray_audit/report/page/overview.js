// The run as a whole.
function fact(value, text) {
  return make("div", { class: "fact" }, make("b", {}, value), text);
}

function table(headings, rows, caption) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => (cell instanceof Node ? cell : make("td", {}, cell)))));
  return make("div", { class: "scroll" }, make("table", {}, make("caption", { class: "quiet" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
}

function pairTable() {
  const pairs = report.class_pairs;
  const names = report.run.classes.filter((name) => pairs.some((pair) => pair.given === name || pair.predicted === name)).slice(0, 40);
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
  const unit = { dense: "pixels", frames: "frames", class: "samples" }[report.run.form];
  return table(["given ↓  predicted →", ...names], rows, `Given against predicted at the last checkpoint, ${unit}; equal pairs left out.`);
}

function overview() {
  const { run } = report;
  const counts = run.counts;
  const facts = [
    fact(String(counts.entered), `samples entered: ${counts.scored} scored, ${counts.filtered} filtered, ${counts.failed} failed`),
    fact(String(numFindings), `findings${numFindings < run.findings.total ? ` shown, of ${run.findings.total}` : ""}`),
    run.estimate?.num_wrong != null ? fact(`≈ ${Math.round(run.estimate.num_wrong)}`, `wrong ${run.estimate.unit} estimated (${fixed(100 * run.estimate.fraction, 1)}%)`) : null,
    fact(String(run.checkpoints.length), `checkpoints, ${run.protocol.replace("_", " ")} protocol`),
    fact(run.duration, "duration"),
  ];
  const parts = [make("div", { class: "facts" }, ...facts.filter(Boolean))];
  for (const note of run.notes) parts.push(make("p", {}, note));
  if (report.changes) parts.push(make("h2", {}, "Since the night before"), changesTable());
  parts.push(make("h2", {}, "Scores"), make("div", { class: "plots" }, ...Object.entries(report.histograms).map(([name, one]) => histogramPlot(name, one.edges, one.counts))));
  if (report.class_pairs.length) parts.push(make("h2", {}, "Class pairs"), pairTable());
  parts.push(make("h2", {}, "Learning curves"), make("p", { class: "quiet" }, "IoU of predictions with the given labels; dashed: the onset of memorisation, where the fit is trusted."), make("div", { class: "plots" }, ...curves()));
  if (run.errors.length) parts.push(make("h2", {}, "Failures"), table(["shard", "sample", "stage", "what"], run.errors.map((one) => [one.shard, one.sample_id ?? "", one.stage, make("td", { class: "text" }, one.message)]), `The first ${run.errors.length} of ${counts.failed}.`));
  query("view-overview").replaceChildren(...parts);
}

function changesTable() {
  const { changes } = report;
  const kinds = [...new Set(changes.nights.flatMap((night) => Object.keys(night.by_kind)))].sort();
  const rows = changes.nights.map((night) => [night.run_id, String(night.new ?? "–"), String(night.fixed ?? "–"), String(night.recurring ?? "–"), ...kinds.map((kind) => String(night.by_kind[kind] ?? 0))]);
  return table(["run", "new", "fixed", "recurring", ...kinds], rows, "Findings by night.");
}

function curves() {
  const { iou, onset } = report.class_stats;
  return report.run.classes.slice(0, 60).map((name, k) => make("figure", {}, curvePlot(name, iou.map((row) => row[k]), onset[k]), make("figcaption", {}, swatch(name), ` ${name}`)));
}
