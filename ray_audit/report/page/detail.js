// One finding: what is given, what is suggested, why, and the evidence.
let shown = -1;
// Who steps through fast asks for no pictures on the way.
const stepPauseMs = 120;

async function showDetail(index) {
  const focused = query("detail").contains(document.activeElement) ? document.activeElement.id : "";
  const isOther = index !== shown;
  shown = index;
  const pane = query("detail");
  if (index < 0) {
    pane.replaceChildren(emptyText());
    return;
  }
  const row = finding(index);
  const evidence = make("div", {}, make("p", { class: "quiet" }, "loading…"));
  pane.replaceChildren(heading(row), evidence);
  if (focused) document.getElementById(focused)?.focus();
  if (isOther) pane.scrollTop = 0;
  announce(row);
  if (isServed && !source.held.has(row.bundle)) await new Promise((done) => setTimeout(done, stepPauseMs));
  if (shown !== index) return;
  const bundle = await source.bundle(row.bundle);
  if (shown !== index) return;
  const parts = await evidenceOf(row, bundle);
  if (shown === index) evidence.replaceChildren(...parts.filter(Boolean));
  prefetch(index);
}

// Heard, not seen: what a step through the list led to.
function announce(row) {
  const place = list.order.indexOf(row.index) + 1;
  query("announced").textContent = `Finding ${place} of ${list.order.length}: ${where(row)}, given ${row.given}, suggested ${row.suggested ?? "nothing"}, ${stateNames[stateOf(row.id)]}`;
}

function prefetch(index) {
  const next = list.order[list.order.indexOf(index) + 1];
  if (next != null) source.bundle(columns.bundle[next]);
}

function emptyText() {
  const text = numFindings ? "No finding passes the filters." : "No findings: nowhere do the checkpoints prefer another label.";
  return make("p", { class: "quiet" }, text);
}

function heading(row) {
  const numbers = [`rank ${row.rank}`, `suspicion ${fixed(row.suspicion, 3)}`, `mean loss ${fixed(row.loss)} nat`, `probability of the given label ${fixed(row.p_given)}, of the suggested ${fixed(row.p_suggested)}`];
  return make(
    "div",
    {},
    make("button", { class: "back", onclick: () => document.body.classList.remove("detail-open") }, "← list"),
    make("h2", {}, make("bdi", {}, where(row))),
    make("div", { class: "change" }, ...pairOf(row), make("span", { class: "badge quiet" }, kindName(row.kind)), row.change === "new" ? make("span", { class: "badge" }, "new") : null),
    make("p", { class: "reason" }, row.reason ?? ""),
    actions(row),
    make("p", { class: "quiet" }, numbers.join(" · ")),
  );
}

function actions(row) {
  const mine = decisions.of(row.id);
  const pressed = (name) => String(mine?.decision === name);
  const names = report.run.classes.filter((name) => name !== row.given);
  const other = make("select", { id: "other", "aria-label": "Another label", onchange: (event) => event.target.value && act("relabel", event.target.value) }, make("option", { value: "" }, "other label…"), ...names.map((name) => make("option", { value: name, selected: mine?.decision === "relabel" && mine.label === name }, name)));
  const accept = make("button", { id: "accept", class: "accept", "aria-pressed": pressed("accept"), disabled: row.suggested == null, onclick: () => act("accept") }, "Accept suggestion ", make("kbd", {}, "a"));
  const reject = make("button", { id: "reject", class: "reject", "aria-pressed": pressed("reject"), onclick: () => act("reject") }, "Label is right ", make("kbd", {}, "r"));
  const undo = make("button", { id: "undo", onclick: undoLast, disabled: !decisions.history.length }, "Undo ", make("kbd", {}, "u"));
  return make("div", { class: "actions" }, accept, reject, other, make("kbd", {}, "o"), undo, othersOf(row));
}

function othersOf(row) {
  const others = decisions.others[row.id];
  if (!others) return null;
  const said = others.map((one) => `${one.reviewer}: ${stateNames[one.decision]}${one.label ? ` (${one.label})` : ""}, ${new Date(one.time).toLocaleString()}`);
  const isDisputed = decisions.disputed(row.id);
  const note = isDisputed ? "Reviewers disagree: nothing is changed until they agree. " : "";
  return make("p", { class: isDisputed ? "others disputed" : "others quiet" }, note, said.join("; "));
}

// After a yes or no the next finding is shown; another label stays, to be looked at once more.
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
  const index = id == null ? -1 : columns.id.indexOf(id);
  if (index >= 0) list.select(index);
}

function noBundle() {
  if (report.mode === "file") return "No picture: this file holds those of the first findings only. `ray-audit review` shows all.";
  return "The pictures of this finding could not be made.";
}

async function evidenceOf(row, bundle) {
  const parts = [];
  if (!bundle) parts.push(make("p", { class: "missing" }, noBundle()));
  if (bundle?.reason) parts.push(make("p", { class: "missing" }, bundle.reason));
  if (bundle?.pictures?.given) parts.push(await maskView(row, bundle));
  else if (bundle?.pictures?.image) parts.push(make("figure", {}, make("img", { class: "picture", src: bundle.pictures.image, alt: `Image ${row.sample}` }), make("figcaption", {}, row.sample)));
  if (bundle?.strips?.[row.id]?.length) parts.push(...strip(bundle.strips[row.id]));
  if (bundle?.video) parts.push(...timelineOf(row, bundle));
  const losses = row.losses ?? bundle?.losses?.[row.id];
  if (losses) parts.push(...trajectoryOf(row, losses));
  return parts;
}

// Masks have no one class: their band is of all images.
function trajectoryOf(row, losses) {
  const band = report.bands[row.given] ?? report.bands[""];
  const of = report.bands[row.given] ? ["all samples given ", make("bdi", {}, row.given)] : ["all images"];
  const note = band && make("p", { class: "quiet" }, "Shaded: from the 10% to the 90% quantile of ", ...of, "; the thin line is their median.");
  return [make("h2", {}, "Loss over training"), trajectoryPlot(losses, band, row.given), note];
}

function strip(frames) {
  const pictures = frames.map((one) => make("figure", { class: one.inside ? "inside" : "" }, make("img", { src: one.src, alt: `Frame ${one.frame}${one.inside ? ", inside the finding" : ""}` }), make("figcaption", {}, `${one.frame}`)));
  return [
    make("h2", {}, "Frames around the finding"),
    make("div", { class: "strip", tabIndex: 0, role: "group", "aria-label": "Frames around the finding" }, ...pictures),
    make("p", { class: "quiet" }, "Below each its frame number; underlined frames lie inside the finding."),
  ];
}

function timelineOf(row, bundle) {
  const rows = [];
  const key = columns.shard[row.index];
  for (let index = 0; index < numFindings; index++) if (columns.shard[index] === key && columns.start[index] != null) rows.push(finding(index));
  return [make("h2", {}, "Timeline"), timeline(bundle.video, rows, row), bundle.video.given && classLegend([...bundle.video.given, ...bundle.video.predicted, ...bundle.video.suggested])];
}

function classLegend(indices) {
  const seen = [...new Set(indices)].filter((index) => index >= 0 && index < report.run.classes.length).sort((a, b) => a - b);
  return make("p", { class: "legend quiet" }, ...seen.map((index) => make("span", {}, swatch(report.run.classes[index]), " ", make("bdi", {}, report.run.classes[index]))));
}
