// Wiring: views, keys, theme.
const shortcuts = [["j or ↓", "next finding"], ["k or ↑", "previous finding"], ["a", "accept the suggestion"], ["r", "the label is right"], ["o", "another label"], ["u", "undo"], ["/", "search"], ["l", "next layer of a mask"], ["c", "close-up or whole image"], ["Esc", "back to the list"], ["?", "this help"]];
const views = { findings: null, gallery, overview, changes: changesView };

function showView(name) {
  for (const view of Object.keys(views)) {
    query(`view-${view}`).hidden = view !== name;
    query(`tab-${view}`).setAttribute("aria-selected", String(view === name));
    query(`tab-${view}`).tabIndex = view === name ? 0 : -1;
  }
  if (views[name]) views[name]();
  else list.draw();
}

function nextTab(by) {
  const tabs = [...document.querySelectorAll('[role="tab"]:not([hidden])')];
  const next = tabs[(tabs.indexOf(document.activeElement) + by + tabs.length) % tabs.length];
  next.click();
  next.focus();
}

function nextLayer() {
  const buttons = [...document.querySelectorAll(".layer")];
  const pressed = buttons.findIndex((button) => button.getAttribute("aria-pressed") === "true");
  buttons[(pressed + 1) % buttons.length]?.click();
}

// The list of classes opens at once, where the browser can; else it is focused.
function openOther() {
  const select = document.getElementById("other");
  select?.focus();
  try {
    select?.showPicker();
  } catch {
    // Not without a key press of a person.
  }
}

const keys = {
  j: () => list.step(1),
  ArrowDown: () => list.step(1),
  k: () => list.step(-1),
  ArrowUp: () => list.step(-1),
  a: () => act("accept"),
  r: () => act("reject"),
  o: openOther,
  u: undoLast,
  l: nextLayer,
  c: () => document.getElementById("close")?.click(),
  "/": () => query("search").focus(),
  "?": () => query("help-dialog").showModal(),
};

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || query("help-dialog").open) return;
  if (key === "Escape") {
    document.body.classList.remove("detail-open");
    query("list").focus();
  }
  if (target.role === "tab" && /^Arrow(Left|Right)$/.test(key)) return nextTab(key === "ArrowLeft" ? -1 : 1);
  if (query("view-findings").hidden || target.matches("input:not([type=range]):not([type=checkbox]), select, textarea")) return;
  // Arrows move a slider, and scroll a picture or the evidence, where one has the focus.
  if (key.startsWith("Arrow") && (target.matches("input") || query("detail").contains(target))) return;
  if (keys[key]) {
    event.preventDefault();
    keys[key]();
  }
});

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (list.selected >= 0) showDetail(list.selected);
}

function countDecisions() {
  const known = new Set(columns.id);
  const ids = Object.keys(decisions.mine);
  const num = ids.filter((id) => known.has(id)).length;
  const gone = ids.length - num;
  say(ids.length ? `${num} of ${numFindings} decided${gone ? `, and ${gone} that are no findings of this page` : ""}` : "");
}

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// A server has the decisions already: correct finds them in the run.
function downloaded() {
  const name = decisions.download();
  const file = isServed ? "" : ` --decisions ${quoted(name)}`;
  query("next-steps").replaceChildren(
    make("p", {}, `Saved as ${name}${isServed ? ", and in the run as you made them" : ""}. To write corrected labels to a new place, run:`),
    make("pre", {}, `ray-audit correct ${quoted(report.run.output)} --run ${quoted(report.run.run_id)} --rule decisions${file} --to NEW_FOLDER`),
    make("p", { class: "quiet" }, "Add --dry-run to see first what would change."),
  );
  query("next-dialog").showModal();
}

// For who sees the page for the first time.
function showHint() {
  const key = "ray-audit:knows";
  if (!numFindings || readStored(key, false)) return;
  const end = isServed ? "Each decision is saved at once." : "At the end, download your decisions.";
  query("hint-text").textContent = `The most suspicious labels come first. Look at the evidence, then accept the suggestion, keep the label, or choose another. ${end}`;
  query("hint").hidden = false;
  query("hint-close").addEventListener("click", () => {
    store(key, true);
    query("hint").hidden = true;
  });
}

function askName() {
  const input = query("reviewer");
  input.value = report.reviewer ?? readStored(nameKey, "");
  input.disabled = report.reviewer != null;
  input.addEventListener("input", () => store(nameKey, input.value.trim()));
}

query("title").textContent = `${report.run.name} · ${report.run.run_id}`;
query("help-dialog").prepend(make("h2", {}, "Keys"), make("table", {}, ...shortcuts.map(([key, text]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", { class: "text" }, text)))));
query("help").addEventListener("click", () => query("help-dialog").showModal());
query("download").addEventListener("click", downloaded);
query("tab-gallery").hidden = !["class", "clips"].includes(report.run.task) || !numFindings;
query("tab-changes").hidden = !report.changes;
for (const view of Object.keys(views)) query(`tab-${view}`).addEventListener("click", () => showView(view));
query("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
decisions.listeners.push(countDecisions);
decisions.start();
askName();
showHint();
fillFilters();
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
countDecisions();
list.refresh();
showView(location.hash === "#changes" && report.changes ? "changes" : numFindings ? "findings" : "overview");
document.documentElement.dataset.ready = "true";
