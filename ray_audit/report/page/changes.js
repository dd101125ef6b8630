// Night to night: what is new, fixed and recurring, and findings per kind over the last nights.
function changesView() {
  const { changes } = report;
  const { nights, totals } = changes;
  const kinds = [...new Set([...nights.flatMap((night) => Object.keys(night.by_kind)), ...Object.keys(changes.by_kind)])].sort();
  const parts = [make("h2", {}, "Since ", make("bdi", {}, changes.against))];
  if (changes.settings.length) {
    parts.push(make("p", {}, "Not compared: the settings differ, and so would most findings."), make("ul", {}, ...changes.settings.map((text) => make("li", {}, text))));
  } else {
    const texts = { new: "new: found in this run only", fixed: "fixed: found in the earlier run only", recurring: "recurring: found in both" };
    parts.push(make("div", { class: "facts" }, ...Object.entries(texts).map(([change, text]) => fact(String(totals[change]), text))));
    if (columns.change?.includes("new")) parts.push(make("p", {}, make("button", { onclick: () => filterBy({ "filter-state": "new" }) }, "Show the new findings")));
    parts.push(kindTable(kinds));
  }
  if (nights.length > 1) parts.push(make("h2", {}, "Findings per kind, night by night"), make("div", { class: "scroll" }, trendPlot(nights, kinds)), trendLegend(kinds), nightTable(kinds));
  parts.push(...fixedTable());
  query("view-changes").replaceChildren(...parts);
}

function kindTable(kinds) {
  const { by_kind: counts } = report.changes;
  const rows = kinds.filter((kind) => counts[kind]).map((kind) => [kindName(kind), ...["new", "fixed", "recurring"].map((change) => String(counts[kind][change] ?? 0))]);
  return rows.length ? table(["kind", "new", "fixed", "recurring"], rows, "Findings of each kind.") : make("p", {}, "No findings in either run.");
}

function fixedTable() {
  const { fixed: gone, totals } = report.changes;
  if (!gone.length) return [];
  const cell = (text) => make("td", { class: "text" }, make("bdi", {}, text));
  const rows = gone.map((one) => [one.start_frame == null ? one.sample_id : `${one.shard}  ${one.start_frame}–${one.end_frame - 1}`, cell(kindName(one.kind)), cell(one.given ?? ""), cell(one.suggested ?? "?")]);
  const first = totals.fixed > gone.length ? ` The first ${gone.length} of ${totals.fixed}.` : "";
  return [make("h2", {}, "Fixed"), table(["where", "kind", "was given", "was suggested"], rows, `No longer found: the label was changed, or the checkpoints agree with it now.${first}`, "texts")];
}

function trendLegend(kinds) {
  return make("p", { class: "legend quiet" }, ...kinds.map((kind, k) => make("span", {}, dashMark(k), ` ${kindName(kind)}`)));
}

function nightTable(kinds) {
  const rows = report.changes.nights.map((night) => [night.run_id, String(night.total), ...kinds.map((kind) => String(night.by_kind[kind] ?? 0))]).reverse();
  return table(["run", "all", ...kinds.map(kindName)], rows, "Findings of complete runs with the same settings, the last of each date, newest first.");
}
