// Wiring: views, keys, theme.
const shortcuts = [["j / ↓", "next finding"], ["k / ↑", "previous finding"], ["a", "accept the suggestion"], ["r", "the label is right"], ["o", "another label"], ["u", "undo"], ["/", "search"], ["l", "next layer of a mask"], ["?", "this help"]];

function showView(name) {
  for (const view of ["findings", "overview"]) {
    query(`view-${view}`).hidden = view !== name;
    query(`tab-${view}`).setAttribute("aria-selected", String(view === name));
  }
  if (name === "overview") overview();
  else list.draw();
}

function nextLayer() {
  const select = document.getElementById("layer");
  if (!select) return;
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
}

const keys = {
  j: () => list.step(1),
  ArrowDown: () => list.step(1),
  k: () => list.step(-1),
  ArrowUp: () => list.step(-1),
  a: () => act("accept"),
  r: () => act("reject"),
  o: () => document.getElementById("other")?.focus(),
  u: undoLast,
  l: nextLayer,
  "/": () => query("search").focus(),
  "?": () => query("help-dialog").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    document.activeElement?.blur();
    document.body.classList.remove("detail-open");
  }
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey || query("view-findings").hidden) return;
  const action = keys[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  if (list.selected >= 0) showDetail(list.selected);
}

function countDecisions() {
  const num = Object.keys(decisions.mine).length;
  say(num ? `${num} decided` : "");
}

query("title").textContent = `${report.run.name} · ${report.run.run_id}`;
query("help-dialog").append(make("h2", {}, "Keys"), make("table", {}, ...shortcuts.map(([key, text]) => make("tr", {}, make("td", {}, make("kbd", {}, key)), make("td", { class: "text" }, text)))), make("form", { method: "dialog" }, make("button", {}, "Close")));
query("help").addEventListener("click", () => query("help-dialog").showModal());
query("download").addEventListener("click", () => decisions.download());
query("tab-findings").addEventListener("click", () => showView("findings"));
query("tab-overview").addEventListener("click", () => showView("overview"));
query("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
decisions.listeners.push(countDecisions);
fillFilters();
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
countDecisions();
list.refresh();
if (!numFindings) showView("overview");
document.documentElement.dataset.ready = "true";
