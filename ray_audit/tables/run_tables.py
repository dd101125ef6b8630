"""A run as its readers see it: its tables part by part, few columns at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from ray_audit import storage
from ray_audit.config import AuditConfig
from ray_audit.errors import StorageError
from ray_audit.measures import Kind, measures
from ray_audit.schemas import FINDINGS, arrow_schema
from ray_audit.tables.manifest import MANIFEST, Manifest, latest_complete
from ray_audit.tables.store import TableFile, read_table
from ray_audit.task import Task
from ray_audit.trust import check_trusted, is_known


@dataclass(frozen=True)
class RunTables:
    """A complete run.

    Attributes:
        run_uri: its folder.
        manifest: what it lists.
        is_trusted: whether the model that the manifest names may be called; see `trust`.
    """

    run_uri: str
    manifest: Manifest
    is_trusted: bool = False

    @classmethod
    def open(cls, output: str, run_id: str | None = None) -> "RunTables":
        """Open a run, by default the latest complete one.

        Raises:
            StorageError: there is none, or it is not complete.
        """
        run_uri = storage.join(output, "runs", run_id or latest_complete(output))
        if run_id is not None and not storage.exists(storage.join(run_uri, MANIFEST)):
            raise StorageError(
                f"{output} has no complete run {run_id!r}: it goes on, has failed, or was never "
                "started; see `ray-audit status`"
            )
        return cls(run_uri, Manifest.read(run_uri))

    @cached_property
    def config(self) -> AuditConfig:
        """The specification that the run had."""
        return AuditConfig.parse(self.manifest.specification, source=self.run_uri)

    def with_model_of(self, config: AuditConfig) -> "RunTables":
        """The run with the model of a specification that the reader has at hand."""
        values = config.model_dump(mode="json", exclude_unset=True)["model"]
        manifest = replace(
            self.manifest, specification={**self.manifest.specification, "model": values}
        )
        return replace(self, manifest=manifest, is_trusted=True)

    def check_trusted(self) -> None:
        """Refuse to call a model that only the manifest names.

        Raises:
            SpecificationError: says how to allow it.
        """
        check_trusted(self.config.model, self.is_trusted)

    @property
    def may_call_model(self) -> bool:
        """Whether what the manifest names may be called here; see `trust`."""
        return self.is_trusted or is_known(self.config.model)

    @property
    def task(self) -> Task:
        """What labels belong to."""
        return self.config.dataset.task

    @property
    def num_folds(self) -> int:
        """Folds whose models this run unites; 0 where all samples have the same checkpoints."""
        return int(self.manifest.plan.get("num_folds", 0))

    def parts(self, *names: str) -> Iterator[tuple[TableFile, ...]]:
        """The files of tables that are cut alike, side by side."""
        yield from zip(*(self.manifest.tables.get(name, []) for name in names), strict=True)

    @cached_property
    def parts_by_shard(self) -> dict[str, list[int]]:
        """Shard -> which parts of `scores` (and of `trajectories`, cut alike) hold its samples."""
        found: dict[str, list[int]] = {}
        for index, (file,) in enumerate(self.parts("scores")):
            for shard in self.read(file, ["shard"])["shard"].unique().to_pylist():
                found.setdefault(shard, []).append(index)
        return found

    def read(self, file: TableFile, columns: list[str] | None = None) -> pa.Table:
        """One part."""
        return read_table(self.run_uri, [file], columns)

    @cached_property
    def score_units(self) -> dict[str, str]:
        """Columns of this run's `scores` table, and the unit of each that has one."""
        columns = measures().columns(Kind.of(self.config))
        return {column.name: column.unit for column in columns}

    def score(self, name: str) -> Iterator[np.ndarray]:
        """One score, part by part; nothing where the run has no such column."""
        if name in self.score_units:
            for (file,) in self.parts("scores"):
                yield self.read(file, [name])[name].cast(pa.float64()).to_numpy()

    def whole(self, table: str) -> pa.Table:
        """A whole table, for those that do not grow with the dataset."""
        return self.manifest.table(self.run_uri, table)

    def findings(self) -> pa.Table:
        """All findings; none where the run wrote no such table."""
        if not self.manifest.tables.get("findings"):
            return arrow_schema(list(FINDINGS), {}).empty_table()
        return self.whole("findings")

    def head(self, table: str, num: int) -> pa.Table:
        """The first rows of a table."""
        found: pa.Table | None = None
        for (file,) in self.parts(table):
            part = self.read(file).slice(0, num)
            found = part if found is None else pa.concat_tables([found, part])
            if found.num_rows >= num:
                break
        return pa.table({}) if found is None else found.slice(0, num)
