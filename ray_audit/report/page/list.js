// The list of findings: filtered, sorted, and only the visible rows are in the page.
const rowHeight = 52;
const stateNames = { open: "open", accept: "accepted", reject: "label is right", relabel: "other label", disputed: "reviewers disagree" };
const list = {
  order: [],
  selected: -1,
  refresh() {
    this.order = filtered();
    if (!this.order.includes(this.selected)) this.selected = this.order[0] ?? -1;
    const shown = this.order.length === numFindings ? numFindings : `${this.order.length} of ${numFindings}`;
    const numImages = new Set(this.order.map((index) => columns.sample[index])).size;
    query("list-count").textContent = ofMasks ? `${shown} findings in ${numImages} images` : `${shown} findings`;
    query("list-inner").style.height = `${this.order.length * rowHeight}px`;
    this.draw();
    showDetail(this.selected);
    if (!query("view-gallery").hidden) gallery();
  },
  draw() {
    const pane = query("list");
    const first = Math.max(0, Math.floor(pane.scrollTop / rowHeight) - 5);
    const last = Math.min(this.order.length, first + Math.ceil(pane.clientHeight / rowHeight) + 10);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(rowOf(this.order[place], place, this.order.length));
    query("list-inner").replaceChildren(...rows);
    if (document.getElementById(`row-${this.selected}`)) pane.setAttribute("aria-activedescendant", `row-${this.selected}`);
    else pane.removeAttribute("aria-activedescendant");
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

function rowOf(index, place, num) {
  const row = finding(index);
  const state = stateOf(row.id);
  const node = make(
    "div",
    {
      class: "row",
      id: `row-${index}`,
      role: "option",
      "aria-selected": String(index === list.selected),
      "aria-posinset": place + 1,
      "aria-setsize": num,
      onclick: () => {
        list.select(index, false);
        document.body.classList.add("detail-open");
      },
    },
    make(
      "div",
      { class: "row-head" },
      make("span", { class: "num quiet" }, `${row.rank}`),
      make("bdi", { class: "where", title: where(row) }, where(row)),
      state === "open" ? null : make("span", { class: `badge ${state}` }, stateNames[state]),
      row.change === "new" ? make("span", { class: "badge" }, "new") : null,
      make("span", { class: "num" }, fixed(row.suspicion, 3)),
    ),
    make("div", { class: "row-sub" }, ...pairOf(row), `  ·  ${kindName(row.kind)}`),
  );
  node.style.top = `${place * rowHeight}px`;
  return node;
}

// Names may run from right to left: each keeps its own direction, and the arrow its place.
function pairOf(row) {
  return [swatch(row.given), make("bdi", {}, row.given ?? "?"), " → ", swatch(row.suggested), make("bdi", {}, row.suggested ?? "?")];
}

// Several findings of one mask stand together, where the first of them ranks.
const ofMasks = report.run.task === "dense";
const firstRank = new Map();
columns.sample.forEach((sample, index) => {
  firstRank.set(sample, Math.min(columns.rank[index], firstRank.get(sample) ?? Infinity));
});
const imageOf = (index) => firstRank.get(columns.sample[index]);
const byImage = (a, b) => imageOf(a) - imageOf(b) || (columns.sample[a] < columns.sample[b] ? -1 : columns.sample[a] > columns.sample[b] ? 1 : 0);

const sorts = {
  ...(ofMasks ? { image: ["image", (a, b) => byImage(a, b) || columns.rank[a] - columns.rank[b]] } : {}),
  rank: ["rank", (a, b) => columns.rank[a] - columns.rank[b]],
  loss: ["loss, largest first", (a, b) => (columns.loss[b] ?? -1) - (columns.loss[a] ?? -1)],
  shard: ["shard and frame", (a, b) => columns.shard[a] - columns.shard[b] || (columns.start[a] ?? 0) - (columns.start[b] ?? 0)],
  pair: ["class pair", (a, b) => columns.given[a] - columns.given[b] || (columns.suggested[a] ?? -1) - (columns.suggested[b] ?? -1)],
};

// Shards often lie in a folder for each split: the part of their key above the last slash.
const folderOf = (shard) => (shard ?? "").slice(0, Math.max(0, shard.lastIndexOf("/")));

function filtered() {
  const text = query("search").value.trim().toLowerCase();
  const [kind, name, folder, state] = ["kind", "class", "folder", "state"].map((id) => query(`filter-${id}`).value);
  const least = Number(query("filter-score").value) || 0;
  const found = [];
  for (let index = 0; index < numFindings; index++) {
    if (columns.suspicion[index] < least) continue;
    if (kind && textAt("kind", index) !== kind) continue;
    if (name && textAt("given", index) !== name && textAt("suggested", index) !== name) continue;
    if (folder && `${folderOf(textAt("shard", index))}/` !== folder) continue;
    if (state && (state === "new" ? columns.change[index] !== "new" : stateOf(columns.id[index]) !== state)) continue;
    if (text && !searchable(index).includes(text)) continue;
    found.push(index);
  }
  return found.sort(sorts[query("sort").value || Object.keys(sorts)[0]][1]);
}

function searchable(index) {
  const texts = ["shard", "given", "suggested"].map((name) => textAt(name, index));
  return `${columns.sample[index]} ${texts.join(" ")} ${columns.reason[index] ?? ""}`.toLowerCase();
}

function fillFilters() {
  const option = (value, text) => make("option", { value }, text);
  const textsOf = (...names) => [...new Set(names.flatMap((name) => columns[name]))].filter((index) => index != null).map((index) => report.strings[index]).sort();
  query("filter-kind").append(option("", "any kind"), ...textsOf("kind").map((kind) => option(kind, kindName(kind))));
  query("filter-class").append(option("", "any class"), ...textsOf("given", "suggested").map((name) => option(name, name)));
  const folders = [...new Set(textsOf("shard").map(folderOf))];
  query("filter-folder").hidden = folders.length < 2;
  query("filter-folder").append(option("", "any folder"), ...folders.map((folder) => option(`${folder}/`, `${folder}/`)));
  const states = { "": "any decision", ...stateNames };
  if (columns.change?.some((change) => change === "new")) states.new = "new since last night";
  query("filter-state").append(...Object.entries(states).map(([value, name]) => option(value, name)));
  query("sort").append(...Object.entries(sorts).map(([value, [name]]) => option(value, `by ${name}`)));
  let pause = null;
  query("filters").addEventListener("input", (event) => {
    clearTimeout(pause);
    pause = setTimeout(() => list.refresh(), event.target.type === "search" ? 150 : 0);
  });
  query("filters").addEventListener("submit", (event) => event.preventDefault());
  query("list").addEventListener("scroll", () => list.draw(), { passive: true });
}

function filterBy(changes) {
  query("filters").reset();
  for (const [id, value] of Object.entries(changes)) query(id).value = value;
  list.refresh();
  showView("findings");
}
