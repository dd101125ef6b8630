"""The report's page with many findings in headless Chromium: time to open, to step, and memory.

A real run is made: small images in Parquet files, every second with a wrong label, audited by
models that see colours. 10,000 findings go into one HTML file; all of a larger run are reviewed.

    python -m benchmarks.report [--repeats 3] [--findings 10000] [--reviewed 100000] [--quick]
"""

import contextlib
import io
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from safetensors.torch import save_file
from torch import nn

from benchmarks.harness import Figure, Report, parser
from ray_audit.config import AuditConfig
from ray_audit.engine.backends.local import LocalBackend
from ray_audit.engine.run.audit import run_audit
from ray_audit.report.serve import Review, ReviewServer
from ray_audit.report.write_report import write_report
from ray_audit.tables.run_tables import RunTables

CLASSES = [f"class {index}" for index in range(12)]
NUM_CHECKPOINTS = 10
SIDE_PX = 8
PER_SHARD = 2000
NUM_STEPS = 20
STEP_MS = """async (num) => {
  const before = performance.now();
  for (let i = 0; i < num; i++) {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  }
  return (performance.now() - before) / num;
}"""
SEARCH_MS = """async () => {
  const box = document.getElementById("search");
  const before = performance.now();
  box.value = "class 7";
  box.dispatchEvent(new Event("input", { bubbles: true }));
  while (!document.getElementById("list-count").textContent.includes(" of "))
    await new Promise((done) => setTimeout(done, 5));
  return performance.now() - before;
}"""


class ColourModel(nn.Module):
    """(N, C, H, W) -> logits (N, K): minus the squared distance to each class's colour."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the mean colour."""
        return self.head(images.mean((2, 3)))


def colours() -> np.ndarray:
    """(K, 3) colours in [0, 1], apart from each other."""
    steps = np.array([0.1, 0.5, 0.9])
    return np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)[: 2 * len(CLASSES) : 2]


def make_run(folder: Path, num_findings: int) -> RunTables:
    """A complete run of twice as many images as findings; the one that is there, if one is."""
    if (folder / "out").exists():
        return RunTables.open(str(folder / "out"))
    rng = np.random.default_rng(0)
    num = 2 * num_findings
    for start in range(0, num, PER_SHARD):
        true = rng.integers(len(CLASSES), size=min(PER_SHARD, num - start))
        is_wrong = np.arange(len(true)) % 2 == 1
        given = (true + is_wrong * rng.integers(1, len(CLASSES), size=len(true))) % len(CLASSES)
        table = pa.table({"image": [_png(k, rng) for k in true], "label": given})
        path = folder / f"data/{'train' if start % (2 * PER_SHARD) else 'val'}/{start:07}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    _write_checkpoints(folder / "checkpoints")
    config = AuditConfig.parse(_specification(folder))
    outcome = run_audit(config, local=True)
    return RunTables.open(config.output, outcome.run_id)


def _png(index: int, rng: np.random.Generator) -> bytes:
    noise = rng.normal(0, 0.03, (SIDE_PX, SIDE_PX, 3))
    pixels = (255 * np.clip(colours()[index] + noise, 0, 1)).astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def _write_checkpoints(folder: Path) -> None:
    folder.mkdir(parents=True)
    centres = torch.as_tensor(colours(), dtype=torch.float32)
    for epoch in range(NUM_CHECKPOINTS):
        sure = 10.0 * (epoch + 1)
        state = {"head.weight": 2 * sure * centres, "head.bias": -sure * (centres**2).sum(1)}
        save_file(state, folder / f"epoch_{epoch:02}.safetensors")


def _specification(folder: Path) -> dict[str, Any]:
    return {
        "dataset": {
            "kind": "images",
            "uri": str(folder / "data/*/*.parquet"),
            "labels": {"column": "label"},
            "classes": CLASSES,
        },
        "model": {"factory": "benchmarks.report:ColourModel"},
        "checkpoints": str(folder / "checkpoints/*.safetensors"),
        "scores": ["csl"],
        "engine": {"batch_size": 256},
        "output": str(folder / "out"),
    }


@dataclass(frozen=True)
class Opened:
    """One opening of a page.

    Attributes:
        load_s: from the request to the browser's load event.
        open_s: from there until the first finding is shown with its picture.
        step_s: a step to the next finding, until the browser has drawn it.
        search_s: typing a search, until the list is filtered.
        heap_mb: JavaScript's heap.
        process_mb: resident memory of the page's process, less what it shares with others.
    """

    load_s: float
    open_s: float
    step_s: float
    search_s: float
    heap_mb: float
    process_mb: float


def opened(browser: Browser, address: str) -> Opened:
    """Open a page in a fresh context, step through it, search, and look at its memory."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    start = time.perf_counter()
    page.goto(address, wait_until="load")
    load_s = time.perf_counter() - start
    page.wait_for_selector("html[data-ready=true]")
    page.wait_for_selector("#detail .picture")
    open_s = time.perf_counter() - start - load_s
    step_ms = page.evaluate(STEP_MS, NUM_STEPS)
    search_ms = page.evaluate(SEARCH_MS)
    heap, process = _memory(browser, page)
    context.close()
    return Opened(load_s, open_s, step_ms / 1e3, search_ms / 1e3, heap / 1e6, process / 1e6)


def _memory(browser: Browser, page: Page) -> tuple[float, float]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {
        metric["name"]: metric["value"]
        for metric in session.send("Performance.getMetrics")["metrics"]
    }
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    pages = [process["id"] for process in processes if process["type"] == "renderer"]
    return metrics["JSHeapUsedSize"], max(own_bytes(pid) for pid in pages)


def own_bytes(pid: int) -> float:
    """Resident memory that no other process maps."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rows = dict(line.split(":") for line in text.splitlines()[1:])
    return sum(1024 * int(rows[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))


@contextlib.contextmanager
def served(tables: RunTables) -> Iterator[tuple[str, float]]:
    """Address of a review, and how long it took to be there."""
    start = time.perf_counter()
    with ReviewServer(Review(tables, LocalBackend(), "bench")) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.address, time.perf_counter() - start
        server.shutdown()
        thread.join()


def _figures(name: str, rounds: list[Opened]) -> list[Figure]:
    units = {"load_s": "s", "open_s": "s", "step_s": "s", "search_s": "s"}
    units |= {"heap_mb": "MB", "process_mb": "MB"}
    return [
        Figure(f"{name}: {field}", unit, tuple(getattr(round_, field) for round_ in rounds))
        for field, unit in units.items()
    ]


def measure(folder: Path, num_findings: int, num_reviewed: int, repeats: int) -> Report:
    """Figures of the file and of the review."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("no chromium on the PATH: `make page-test` installs Debian's")
    tables = make_run(folder / "file", num_findings)
    start = time.perf_counter()
    page = folder / "report.html"
    written = write_report(tables, LocalBackend(), str(page), num_findings=num_findings)
    figures = [
        Figure("file: writing it", "s", (time.perf_counter() - start,)),
        Figure("file: size", "MB", (page.stat().st_size / 1e6,)),
    ]
    reviewed = make_run(folder / "review", num_reviewed) if num_reviewed else None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        figures += _figures("file", [opened(browser, page.as_uri()) for _ in range(repeats)])
        if reviewed is not None:
            with served(reviewed) as (address, start_s):
                figures.append(Figure("review: starting it", "s", (start_s,)))
                rounds = [opened(browser, address) for _ in range(repeats)]
                figures += _figures("review", rounds)
        notes = [f"file: {written.num_findings} findings, {written.num_bundles} with pictures"]
        if reviewed is not None:
            notes.append(f"review: {reviewed.findings().num_rows} findings")
        notes.append(f"Chromium {browser.version}")
        browser.close()
    return Report("report", figures, notes)


def main() -> None:
    """Measure and publish."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--findings", type=int, default=10_000)
    options.add_argument("--reviewed", type=int, default=100_000)
    options.add_argument("--folder", type=Path, help="keeps the runs, and takes what is there")
    args = options.parse_args()
    num_findings, num_reviewed = (200, 400) if args.quick else (args.findings, args.reviewed)
    with contextlib.ExitStack() as stack:
        folder = args.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-audit-bench-"))
        )
        report = measure(folder, num_findings, num_reviewed, args.repeats)
        report.publish(is_kept=not args.quick)


if __name__ == "__main__":
    main()
