// One finding: what is given, what is suggested, why, and the evidence.
let shown = -1;

async function showDetail(index) {
  shown = index;
  const pane = query("detail");
  if (index < 0) {
    pane.replaceChildren(emptyText());
    return;
  }
  const row = finding(index);
  const evidence = make("div", {}, make("p", { class: "quiet" }, "loading…"));
  pane.replaceChildren(heading(row), evidence);
  pane.scrollTop = 0;
  const bundle = await source.bundle(row.bundle);
  if (shown !== index) return;
  const parts = await evidenceOf(row, bundle);
  if (shown === index) evidence.replaceChildren(...parts.filter(Boolean));
}

function emptyText() {
  const text = numFindings ? "No finding passes the filters." : "No findings: nowhere do the checkpoints prefer another label.";
  return make("p", { class: "quiet" }, text);
}

function heading(row) {
  return make(
    "div",
    {},
    make("button", { class: "back", onclick: () => document.body.classList.remove("detail-open") }, "← list"),
    make("h2", {}, where(row)),
    make("div", { class: "change" }, swatch(row.given), make("span", {}, row.given), "→", swatch(row.suggested), make("span", {}, row.suggested ?? "?"), make("span", { class: "badge quiet" }, row.kind.replace("_", " "))),
    make("p", { class: "reason" }, row.reason ?? ""),
    actions(row),
    make("p", { class: "quiet" }, `rank ${row.rank} · suspicion ${fixed(row.suspicion, 3)} · mean loss ${fixed(row.loss)} nat · p given ${fixed(row.p_given)} · p suggested ${fixed(row.p_suggested)}`),
  );
}

function actions(row) {
  const mine = decisions.of(row.id);
  const pressed = (name) => String(mine?.decision === name);
  const names = report.run.classes.filter((name) => name !== row.given);
  const other = make("select", { id: "other", "aria-label": "Another label", onchange: (event) => event.target.value && act("relabel", event.target.value) }, make("option", { value: "" }, "other label…"), ...names.map((name) => make("option", { value: name, selected: mine?.decision === "relabel" && mine.label === name }, name)));
  const accept = make("button", { id: "accept", class: "accept", "aria-pressed": pressed("accept"), disabled: row.suggested == null, onclick: () => act("accept") }, "Accept suggestion ", make("kbd", {}, "a"));
  const reject = make("button", { id: "reject", class: "reject", "aria-pressed": pressed("reject"), onclick: () => act("reject") }, "Label is right ", make("kbd", {}, "r"));
  const undo = make("button", { onclick: undoLast, disabled: !decisions.history.length }, "Undo ", make("kbd", {}, "u"));
  const others = (decisions.others[row.id] ?? []).map((one) => `${one.reviewer}: ${one.decision}${one.label ? ` (${one.label})` : ""}`);
  return make("div", { class: "actions" }, accept, reject, other, undo, others.length ? make("span", { class: decisions.disputed(row.id) ? "disputed" : "quiet" }, others.join(", ")) : null);
}

function act(decision, label = null) {
  if (list.selected < 0) return;
  const row = finding(list.selected);
  if (decision === "accept" && row.suggested == null) return;
  decisions.decide(row, decision, label);
  const place = list.order.indexOf(list.selected);
  if (place + 1 < list.order.length && decision !== "relabel") list.select(list.order[place + 1]);
  else list.select(list.selected);
}

function undoLast() {
  const id = decisions.undo();
  if (id != null) list.select(columns.id.indexOf(id));
}

async function evidenceOf(row, bundle) {
  const parts = [];
  if (!bundle) parts.push(make("p", { class: "missing" }, report.mode === "file" ? "No picture: this file holds those of the first findings only. `ray-audit review` shows all." : "The pictures of this finding could not be made."));
  if (bundle?.reason) parts.push(make("p", { class: "missing" }, bundle.reason));
  if (bundle?.video) parts.push(...videoEvidence(row, bundle));
  else if (bundle?.pictures?.given) parts.push(await maskView(row, bundle));
  else if (bundle?.pictures?.image) parts.push(make("figure", {}, make("img", { src: bundle.pictures.image, alt: `Image ${row.sample}` }), make("figcaption", {}, row.sample)));
  const losses = row.losses ?? bundle?.losses?.[row.id];
  if (losses) {
    parts.push(make("h2", {}, "Loss over training"), trajectoryPlot(losses, report.bands?.[row.given], row.given));
    if (report.bands?.[row.given]) parts.push(make("p", { class: "quiet" }, `Shaded: from the 10% to the 90% quantile of all samples given ${row.given}.`));
  }
  return parts;
}

function videoEvidence(row, bundle) {
  const rows = [];
  const key = columns.shard[row.index];
  for (let index = 0; index < numFindings; index++) if (columns.shard[index] === key && columns.start[index] != null) rows.push(finding(index));
  const strip = (bundle.strips?.[row.id] ?? []).map((one) => make("figure", { class: one.inside ? "inside" : "" }, make("img", { src: one.src, alt: `Frame ${one.frame}` }), make("figcaption", {}, `${one.frame}${one.inside ? " •" : ""}`)));
  return [
    strip.length ? make("h2", {}, "Frames around the finding") : null,
    strip.length ? make("div", { class: "strip", tabIndex: 0, role: "group", "aria-label": "Frames" }, ...strip) : null,
    strip.length ? make("p", { class: "quiet" }, "• = inside the finding") : null,
    make("h2", {}, "Timeline"),
    timeline(bundle.video, rows, row),
    make("p", { class: "quiet" }, ...classesOf(bundle.video).flatMap((name) => [swatch(name), ` ${name}   `])),
  ];
}

function classesOf(video) {
  const seen = new Set([...video.given, ...video.predicted, ...video.suggested]);
  return [...seen].filter((index) => index >= 0).sort((a, b) => a - b).map((index) => report.run.classes[index]);
}
