// Decisions of this reviewer. A file's page keeps them in the browser; a server's page sends them,
// and keeps only what could not be sent yet.
const isServed = report.mode === "server";
const storeKey = isServed ? `ray-audit:unsent:${report.run.run_id}:${report.reviewer}` : `ray-audit:${report.run.run_id}`;
const nameKey = "ray-audit:reviewer";

function readStored(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    say("The browser keeps no decisions: download them before you close the page.");
  }
}

const decisions = {
  mine: { ...(report.mine ?? {}) },
  others: report.others ?? {},
  unsent: {},
  sending: null,
  history: [],
  listeners: [],
  start() {
    const stored = readStored(storeKey, {});
    for (const [id, decision] of Object.entries(stored)) this.keep(id, decision);
    if (isServed) this.unsent = stored;
    this.send();
  },
  get reviewer() {
    return report.reviewer ?? (readStored(nameKey, "") || "browser");
  },
  of(id) {
    return this.mine[id] ?? null;
  },
  disputed(id) {
    const others = this.others[id];
    if (!others) return false;
    const all = this.mine[id] ? [this.mine[id], ...others] : others;
    return new Set(all.map((one) => `${one.decision}:${one.label ?? ""}`)).size > 1;
  },
  // Another label that is the suggested one is a yes to the suggestion.
  decide(row, decision, label = null) {
    const said = decision === "relabel" && label === row.suggested ? "accept" : decision;
    this.history.push([row.id, this.mine[row.id] ?? null]);
    this.put(row.id, {
      finding_id: row.id,
      decision: said,
      label: said === "accept" ? row.suggested : label,
      reviewer: this.reviewer,
      time: new Date().toISOString(),
    });
  },
  undo() {
    const last = this.history.pop();
    if (!last) return null;
    this.put(last[0], last[1]);
    return last[0];
  },
  keep(id, decision) {
    if (decision) this.mine[id] = decision;
    else delete this.mine[id];
  },
  put(id, decision) {
    this.keep(id, decision);
    if (isServed) this.unsent[id] = decision;
    store(storeKey, isServed ? this.unsent : this.mine);
    this.listeners.forEach((listener) => listener(id));
    this.send();
  },
  // One after the other, so that a decision never overtakes the one before it.
  send() {
    if (isServed) this.sending ??= this.sendAll().finally(() => (this.sending = null));
  },
  async sendAll() {
    for (let left = Object.entries(this.unsent); left.length; left = Object.entries(this.unsent)) {
      const [id, decision] = left[0];
      try {
        const answer = await fetch("decisions", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(decision ?? { finding_id: id, decision: "withdraw", label: null }),
        });
        if (answer.status === 400) alert(`The decision was refused: ${await answer.text()}`);
        else if (!answer.ok) throw new Error(answer.statusText);
      } catch (error) {
        say(`Not saved yet (${error.message}). Decisions stay in this browser, and are sent with the next one.`);
        return;
      }
      if (this.unsent[id] === decision) delete this.unsent[id];
      store(storeKey, this.unsent);
      if (!Object.keys(this.unsent).length) this.listeners.forEach((listener) => listener(id));
    }
  },
  download() {
    const all = Object.values(this.mine).map((one) => ({ ...one, reviewer: this.reviewer }));
    const content = { run_id: report.run.run_id, decisions: all };
    const name = `decisions-${report.run.run_id}.json`;
    const link = make("a", {
      href: URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" })),
      download: name,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    return name;
  },
};

function say(text) {
  query("progress").textContent = text;
}

function stateOf(id) {
  return decisions.disputed(id) ? "disputed" : (decisions.of(id)?.decision ?? "open");
}
