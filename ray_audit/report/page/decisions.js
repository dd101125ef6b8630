// Decisions of this reviewer, kept in the browser; with a server also sent to it.
const storeKey = `ray-audit:${report.run.run_id}`;

function readStored() {
  try {
    return JSON.parse(localStorage.getItem(storeKey)) ?? {};
  } catch {
    return {};
  }
}

const decisions = {
  mine: { ...(report.mine ?? {}), ...readStored() },
  others: report.others ?? {},
  history: [],
  listeners: [],
  of(id) {
    return this.mine[id] ?? null;
  },
  disputed(id) {
    const mine = this.mine[id];
    const others = this.others[id] ?? [];
    const all = mine ? [mine, ...others] : others;
    return new Set(all.map((one) => `${one.decision}:${one.label ?? ""}`)).size > 1;
  },
  decide(row, decision, label = null) {
    this.history.push([row.id, this.mine[row.id] ?? null]);
    this.put(row.id, {
      finding_id: row.id,
      decision,
      label: decision === "accept" ? row.suggested : label,
      reviewer: report.reviewer ?? "browser",
      time: new Date().toISOString(),
    });
  },
  undo() {
    const last = this.history.pop();
    if (!last) return null;
    this.put(last[0], last[1]);
    return last[0];
  },
  put(id, decision) {
    if (decision) this.mine[id] = decision;
    else delete this.mine[id];
    try {
      localStorage.setItem(storeKey, JSON.stringify(this.mine));
    } catch {
      say("The browser keeps no decisions: download them before you close the page.");
    }
    if (report.mode === "server") this.send(decision ?? { finding_id: id, decision: "withdraw", label: null });
    this.listeners.forEach((listener) => listener(id));
  },
  async send(decision) {
    try {
      const answer = await fetch("decisions", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(decision),
      });
      if (!answer.ok) throw new Error(answer.statusText);
    } catch (error) {
      say(`Not saved (${error.message}): download your decisions before you close the page.`);
    }
  },
  download() {
    const content = { run_id: report.run.run_id, decisions: Object.values(this.mine) };
    const link = make("a", {
      href: URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" })),
      download: `decisions-${report.run.run_id}.json`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  },
};

function say(text) {
  query("progress").textContent = text;
}

function stateOf(row) {
  if (decisions.disputed(row.id)) return "disputed";
  return decisions.of(row.id)?.decision ?? "open";
}
