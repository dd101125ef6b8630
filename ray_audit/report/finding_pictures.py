"""Pictures and timelines of a run's findings, made by an engine from the dataset as it is now."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.engine.backends.base import Mapper
from ray_audit.errors import RayAuditError
from ray_audit.report.bundles import make_bundles, orders
from ray_audit.report.dataset_now import index_uri, last_checkpoint, shards_now
from ray_audit.report.document import ShownFindings
from ray_audit.report.layers import Bundle, Findings
from ray_audit.report.sample_details import finding_losses, timelines
from ray_audit.report.seen_masks import Regions, regions_of
from ray_audit.samples import Shard
from ray_audit.tables.run_tables import RunTables


class Pictures:
    """Makes bundles of a run; the dataset is listed once, when this is made.

    Args:
        tables: of the run.
        shown: its findings.
        mapper: makes the bundles.

    Attributes:
        notes: what a reader should know.
    """

    def __init__(self, tables: RunTables, shown: ShownFindings, mapper: Mapper) -> None:
        self.notes: list[str] = []
        self._tables, self._shown, self._mapper = tables, shown, mapper
        self._calls_model = self._decided()
        self._shards = self._listed()

    def _decided(self) -> bool:
        """Whether the model says what is predicted; else the regions that the run keeps do."""
        if not self._tables.task.is_dense:
            return False
        drawn = "Predictions are drawn from the regions that the run keeps, without its model"
        if self._tables.num_folds:
            self.notes.append(f"{drawn}: each fold has one of its own")
            return False
        if not self._tables.may_call_model:
            model = self._tables.config.model
            self.notes.append(
                f"{drawn}: its manifest names {model.factory}, a function that would be called "
                "here. To see all of them, give your own specification (--spec FILE), or --trust "
                "if you know who wrote this run"
            )
            return False
        return True

    def _listed(self) -> dict[str, Shard]:
        try:
            return shards_now(self._tables)
        except RayAuditError as error:
            self.notes.append(f"There are no pictures, since the dataset cannot be listed: {error}")
            return {}

    def bundles(
        self, by_bundle: dict[str, Findings], with_losses: bool = False
    ) -> Iterator[tuple[str, Bundle]]:
        """Bundles by name, each as soon as it is there.

        Args:
            by_bundle: bundle name -> its findings.
            with_losses: put the findings' loss trajectories in, for a page that lacks them.
        """
        rows = [row for findings in by_bundle.values() for row in findings]
        if not rows:
            return
        here = pa.Table.from_pylist(rows, self._shown.rows.schema)
        drawn = timelines(self._tables, self._of_shards(here)) if self._has_timelines else {}
        losses = {}
        if with_losses:
            losses = dict(
                zip(here["finding_id"].to_pylist(), finding_losses(self._tables, here), strict=True)
            )
        for name, bundle in self._made(by_bundle):
            shard = by_bundle[name][0]["shard"]
            if shard in drawn:
                bundle["video"] = drawn[shard]
            if with_losses:
                bundle["losses"] = {
                    finding["finding_id"]: losses[finding["finding_id"]]
                    for finding in by_bundle[name]
                }
            yield name, bundle

    @property
    def _has_timelines(self) -> bool:
        return self._tables.task.is_sequence or self._tables.task.is_dense

    def _of_shards(self, rows: pa.Table) -> pa.Table:
        """All findings of the shards of some, for the band of suggestions."""
        shards = rows["shard"].combine_chunks().unique()
        return self._shown.rows.filter(pc.is_in(self._shown.rows["shard"], value_set=shards))

    def _made(self, by_bundle: dict[str, Findings]) -> Iterator[tuple[str, Bundle]]:
        work = orders(
            self._tables.config,
            index_uri(self._tables),
            last_checkpoint(self._tables) if self._calls_model else "",
            self._shards,
            by_bundle,
            self._regions(by_bundle),
        )
        for made in self._mapper.map(make_bundles, work):
            yield from made.items()

    def _regions(self, by_bundle: dict[str, Findings]) -> Regions:
        if not self._tables.task.is_dense:
            return {}
        rows = [row for findings in by_bundle.values() for row in findings]
        shards, ids = ({str(row[name]) for row in rows} for name in ("shard", "sample_id"))
        return regions_of(self._tables, shards, ids)
