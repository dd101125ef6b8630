// The list of findings: filtered, sorted, and only the visible rows are in the page.
const rowHeight = 52;
const list = {
  order: [],
  selected: -1,
  refresh() {
    this.order = filtered();
    if (!this.order.includes(this.selected)) this.selected = this.order[0] ?? -1;
    query("list-count").textContent =
      this.order.length === numFindings
        ? `${numFindings} findings`
        : `${this.order.length} of ${numFindings} findings`;
    query("list-inner").style.height = `${this.order.length * rowHeight}px`;
    this.draw();
    showDetail(this.selected);
  },
  draw() {
    const pane = query("list");
    const first = Math.max(0, Math.floor(pane.scrollTop / rowHeight) - 5);
    const last = Math.min(this.order.length, first + Math.ceil(pane.clientHeight / rowHeight) + 10);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(rowOf(this.order[place], place));
    query("list-inner").replaceChildren(...rows);
    if (this.selected >= 0) pane.setAttribute("aria-activedescendant", `row-${this.selected}`);
  },
  select(index, reveal = true) {
    if (index == null) return;
    this.selected = index;
    const place = this.order.indexOf(index);
    const pane = query("list");
    if (reveal && place >= 0) {
      const top = place * rowHeight;
      if (top < pane.scrollTop) pane.scrollTop = top;
      if (top + rowHeight > pane.scrollTop + pane.clientHeight) pane.scrollTop = top + rowHeight - pane.clientHeight;
    }
    this.draw();
    showDetail(index);
  },
  step(by) {
    const place = this.order.indexOf(this.selected) + by;
    if (place >= 0 && place < this.order.length) this.select(this.order[place]);
  },
};

function rowOf(index, place) {
  const row = finding(index);
  const state = stateOf(row);
  const node = make(
    "div",
    {
      class: "row",
      id: `row-${index}`,
      role: "option",
      "aria-selected": String(index === list.selected),
      onclick: () => {
        list.select(index, false);
        document.body.classList.add("detail-open");
      },
    },
    make(
      "div",
      { class: "row-head" },
      make("span", { class: "num quiet" }, `${row.rank}`),
      make("span", { class: "where", title: where(row) }, where(row)),
      state === "open" ? null : make("span", { class: `badge ${state}` }, state),
      row.change === "new" ? make("span", { class: "badge" }, "new") : null,
      make("span", { class: "num" }, fixed(row.suspicion, 3)),
    ),
    make("div", { class: "row-sub" }, swatch(row.given), ` ${row.given} → `, swatch(row.suggested), ` ${row.suggested ?? "?"}  ·  ${row.kind.replace("_", " ")}`),
  );
  node.style.top = `${place * rowHeight}px`;
  return node;
}

const sorts = {
  rank: ["rank", (a, b) => columns.rank[a] - columns.rank[b]],
  loss: ["loss, largest first", (a, b) => (columns.loss[b] ?? -1) - (columns.loss[a] ?? -1)],
  shard: ["shard and frame", (a, b) => columns.shard[a] - columns.shard[b] || (columns.start[a] ?? 0) - (columns.start[b] ?? 0)],
  pair: ["class pair", (a, b) => columns.given[a] - columns.given[b] || (columns.suggested[a] ?? -1) - (columns.suggested[b] ?? -1)],
};

function filtered() {
  const text = query("search").value.trim().toLowerCase();
  const kind = query("filter-kind").value;
  const name = query("filter-class").value;
  const state = query("filter-state").value;
  const least = Number(query("filter-score").value) || 0;
  const found = [];
  for (let index = 0; index < numFindings; index++) {
    if (columns.suspicion[index] < least) continue;
    if (kind && report.strings[columns.kind[index]] !== kind) continue;
    if (name || state || text) {
      const row = finding(index);
      if (name && row.given !== name && row.suggested !== name) continue;
      if (state && (state === "new" ? row.change !== "new" : stateOf(row) !== state)) continue;
      if (text && !`${row.sample} ${row.shard} ${row.given} ${row.suggested} ${row.reason ?? ""}`.toLowerCase().includes(text)) continue;
    }
    found.push(index);
  }
  return found.sort(sorts[query("sort").value || "rank"][1]);
}

function fillFilters() {
  const option = (value, text) => make("option", { value }, text);
  const kinds = [...new Set(columns.kind)].map((index) => report.strings[index]).sort();
  const names = [...new Set([...columns.given, ...columns.suggested])].filter((index) => index != null).map((index) => report.strings[index]).sort();
  query("filter-kind").append(option("", "any kind"), ...kinds.map((kind) => option(kind, kind.replace("_", " "))));
  query("filter-class").append(option("", "any class"), ...names.map((name) => option(name, name)));
  const states = { "": "any decision", open: "open", accept: "accepted", reject: "rejected", relabel: "relabelled", disputed: "disputed" };
  if (columns.change?.some((change) => change === "new")) states.new = "new since last night";
  query("filter-state").append(...Object.entries(states).map(([value, name]) => option(value, name)));
  query("sort").append(...Object.entries(sorts).map(([value, [name]]) => option(value, `by ${name}`)));
  query("filters").addEventListener("input", () => list.refresh());
  query("filters").addEventListener("submit", (event) => event.preventDefault());
  query("list").addEventListener("scroll", () => list.draw(), { passive: true });
  new ResizeObserver(() => list.draw()).observe(query("list"));
}
