// Pictures by class pair, most frequent pairs first; a picture is fetched when it comes into view.
const perPair = 48;
const openPairs = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    fillPicture(entry.target);
  }
}, { rootMargin: "300px" });

async function fillPicture(holder) {
  const index = Number(holder.dataset.index);
  const bundle = await source.bundle(columns.bundle[index]);
  const frames = bundle?.strips?.[columns.id[index]]?.filter((one) => one.inside);
  const src = bundle?.pictures?.image ?? frames?.[Math.floor(frames.length / 2)]?.src;
  if (src) holder.replaceChildren(make("img", { src, alt: "" }));
  else holder.replaceChildren("no picture");
}

function gallery() {
  watcher.disconnect();
  const pairs = new Map();
  for (const index of list.order) {
    const key = `${columns.given[index]} ${columns.suggested[index]}`;
    if (!pairs.has(key)) pairs.set(key, []);
    pairs.get(key).push(index);
  }
  const sorted = [...pairs].sort((a, b) => b[1].length - a[1].length);
  const text = list.order.length === numFindings ? `${numFindings} findings` : `${list.order.length} of ${numFindings} findings, those that pass the filters`;
  query("view-gallery").replaceChildren(make("p", { class: "quiet" }, `${text}, by given and suggested label.`), ...sorted.slice(0, 200).map(([key, indices]) => pairSection(key, indices)));
}

function pairSection(key, indices) {
  const shownHere = openPairs.has(key) ? indices : indices.slice(0, perPair);
  const more = () => {
    openPairs.add(key);
    gallery();
  };
  return make(
    "section",
    {},
    make("h2", {}, ...pairOf(finding(indices[0])), ` · ${indices.length}`),
    make("div", { class: "gallery" }, ...shownHere.map(thumb)),
    shownHere.length < indices.length ? make("button", { onclick: more }, `Show all ${indices.length}`) : null,
  );
}

function thumb(index) {
  const row = finding(index);
  const state = stateOf(row.id);
  const holder = make("span", { class: "thumb-picture" });
  holder.dataset.index = index;
  watcher.observe(holder);
  const open = () => {
    showView("findings");
    list.select(index);
    document.body.classList.add("detail-open");
  };
  const text = `${where(row)}, given ${row.given}, suggested ${row.suggested ?? "nothing"}, ${stateNames[state]}`;
  return make("button", { class: `thumb ${state}`, "aria-label": text, title: text, onclick: open }, holder, make("span", { class: "thumb-text" }, state === "open" ? fixed(row.suspicion, 3) : stateNames[state]));
}
