// Where the page gets what it shows. Three ways to serve it, one object.
const report = JSON.parse(document.getElementById("document").textContent);
const query = (id) => document.getElementById(id);

// Bundles hold pictures and timelines of one image or video. A folder's bundles are scripts,
// since a page opened as a file may not fetch; each calls bundleArrived.
const waiting = new Map();
function bundleArrived(name, bundle) {
  waiting.get(name)?.(bundle);
  waiting.delete(name);
}
window.bundleArrived = bundleArrived;

// Promises are held, so that what is asked for twice is fetched once.
const source = {
  held: new Map(Object.entries(report.bundles ?? {}).map(([name, bundle]) => [name, Promise.resolve(bundle)])),
  bundle(name) {
    if (!this.held.has(name)) {
      if (report.mode === "file") return Promise.resolve(null);
      if (this.held.size > 60) this.held.delete(this.held.keys().next().value);
      this.held.set(name, report.mode === "server" ? fetchBundle(name) : scriptBundle(name));
    }
    return this.held.get(name);
  },
};

async function fetchBundle(name) {
  try {
    const answer = await fetch(`bundle?${new URLSearchParams({ name })}`);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

function scriptBundle(name) {
  return new Promise((resolve) => {
    const script = document.createElement("script");
    waiting.set(name, resolve);
    script.src = `bundles/${encodeURIComponent(name)}.js`;
    script.onerror = () => bundleArrived(name, null);
    script.onload = () => script.remove();
    document.head.append(script);
  });
}

// Findings come as columns; strings that repeat come as an index into a list.
const columns = report.findings;
const numFindings = columns.id.length;
const textAt = (name, index) => (columns[name][index] == null ? null : report.strings[columns[name][index]]);
function finding(index) {
  const row = { index };
  for (const [name, values] of Object.entries(columns)) row[name] = values[index];
  for (const name of ["kind", "shard", "given", "suggested"]) row[name] = textAt(name, index);
  return row;
}

const framesOf = (row) => (row.end - row.start > 1 ? `${row.start}–${row.end - 1}` : `${row.start}`);
const where = (row) => (row.start == null ? row.sample : `${row.shard}  ${framesOf(row)}`);
const kindName = (kind) => kind.replaceAll("_", " ");

// Text from labels and shards is data: it is set as text, never as markup.
function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || ["role", "for", "scope", "list"].includes(name)) node.setAttribute(name, value);
    else if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

const fixed = (value, digits = 2) => (value == null ? "–" : Number(value).toFixed(digits));
