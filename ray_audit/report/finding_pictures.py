"""Pictures and timelines of a run's findings, made by an engine from the dataset as it is now."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from ray_audit.engine.backends.base import Mapper
from ray_audit.errors import RayAuditError, SpecificationError
from ray_audit.report.bundles import make_bundles, orders
from ray_audit.report.dataset_now import index_uri, last_checkpoint, shards_now
from ray_audit.report.document import ShownFindings
from ray_audit.report.layers import Bundle, Findings
from ray_audit.report.sample_details import finding_losses, timelines
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
        self._is_refused = False
        self._shards = self._listed()

    def _listed(self) -> dict[str, Shard]:
        if self._has_no_model:
            self.notes.append(
                "There are no pictures: each fold has a model of its own. The folds' own runs show "
                "them"
            )
            return {}
        try:
            if self._tables.task.is_dense:
                self._tables.check_trusted()
        except SpecificationError as error:
            self.notes.append(f"There are no pictures: {error}")
            self._is_refused = True
            return {}
        try:
            return shards_now(self._tables)
        except RayAuditError as error:
            self.notes.append(f"There are no pictures, since the dataset cannot be listed: {error}")
            return {}

    def bundles(
        self, wanted: dict[str, Findings], with_losses: bool = False
    ) -> Iterator[tuple[str, Bundle]]:
        """Bundles by name, each as soon as it is there.

        Args:
            wanted: bundle name -> its findings.
            with_losses: put the findings' loss trajectories in, for a page that lacks them.
        """
        rows = [row for findings in wanted.values() for row in findings]
        if not rows or self._has_no_model or self._is_refused:
            return
        here = pa.Table.from_pylist(rows, self._shown.rows.schema)
        drawn = timelines(self._tables, self._of_shards(here)) if self._has_timelines else {}
        losses = {}
        if with_losses:
            losses = dict(
                zip(here["finding_id"].to_pylist(), finding_losses(self._tables, here), strict=True)
            )
        for name, bundle in self._made(wanted):
            shard = wanted[name][0]["shard"]
            if shard in drawn:
                bundle["video"] = drawn[shard]
            if with_losses:
                bundle["losses"] = {
                    one["finding_id"]: losses[one["finding_id"]] for one in wanted[name]
                }
            yield name, bundle

    @property
    def _has_no_model(self) -> bool:
        """Whether no single model predicts the masks of all findings."""
        return self._tables.task.is_dense and bool(self._tables.num_folds)

    @property
    def _has_timelines(self) -> bool:
        return self._tables.task.is_sequence or self._tables.task.is_dense

    def _of_shards(self, rows: pa.Table) -> pa.Table:
        """All findings of the shards of some, for the band of suggestions."""
        shards = rows["shard"].combine_chunks().unique()
        return self._shown.rows.filter(pc.is_in(self._shown.rows["shard"], value_set=shards))

    def _made(self, wanted: dict[str, Findings]) -> Iterator[tuple[str, Bundle]]:
        work = orders(
            self._tables.config,
            index_uri(self._tables),
            last_checkpoint(self._tables),
            self._shards,
            wanted,
        )
        for made in self._mapper.map(make_bundles, work):
            yield from made.items()
