"""Names of a label table, matched with what there is; and how names are told."""

import numpy as np

from ray_audit.config import DatasetConfig
from ray_audit.errors import LabelError
from ray_audit.formats.labels.names import OwnerNames
from ray_audit.formats.labels.table_rows import LabelRows
from ray_audit.printable import few, plural
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

COMPOSED = (
    "differ from those of files only in how accents are composed, by the Unicode forms NFC and NFD"
)


class Matcher:
    """Matches the names of a table, and remembers those that match nothing."""

    def __init__(self, uri: str, names: OwnerNames) -> None:
        self._uri = uri
        self._names = names
        self._unmatched: dict[str, None] = {}
        self._num_rows = 0
        self._any_matched = False

    def match(self, rows: LabelRows) -> list[Owner | None]:
        """The owner of each of `rows.names`."""
        owners = []
        self._num_rows += len(rows.labels)
        for code, name in enumerate(rows.names):
            try:
                owners.append(self._names.find(name))
            except LabelError as error:
                row = rows.first_row + int(np.flatnonzero(rows.name_codes == code)[0])
                raise LabelError(f"{self._uri}, row {row}: {error}") from None
            if owners[-1] is None:
                self._unmatched[name] = None
            else:
                self._any_matched = True
        return owners

    def check_count(self) -> None:
        """Labels that go by their order alone are as many as there are samples.

        Raises:
            LabelError: they are more or fewer.
        """
        num = self._names.num_owners
        if self._num_rows != num and not self._names.lost:
            raise LabelError(
                f"{self._uri}: {self._num_rows} labels without names for {num} samples: they go by "
                "their order, and need to be as many"
            )

    def check_any_left(self, has_split: bool, num_dropped: int) -> None:
        """Rows that name files are not all left out.

        Raises:
            LabelError: they are, and by what.
        """
        if num_dropped:
            raise LabelError(
                f"{self._uri}: labels.overlap: drop leaves no label: each of "
                f"{plural(num_dropped, 'row')} claims frames that others claim, too. With first or "
                "last one of them holds"
            )
        if has_split and self._any_matched:
            raise LabelError(
                f"{self._uri}: no row labels what dataset.split names, though some label other "
                "files of the dataset; give the table of these"
            )

    def notes(self, dataset: DatasetConfig, shards: list[Shard], any_found: bool) -> list[str]:
        """A note on the names that match nothing; an error where none matches."""
        if not any_found:
            raise LabelError(
                f"{self._uri}: no row names one of the {len(shards)} files; the table names "
                f"{few(self._unmatched) or 'none'}, the files are "
                f"{few(s.key for s in shards)}{self._hint()}"
            )
        what = "image" if dataset.labels.form == "images" else "video"
        notes, lost = [], self._names.lost
        if lost:
            files = dict.fromkeys(owner.shard_key for owner in lost.values())
            notes.append(
                f"labels of {plural(len(lost), what)} ({few(lost)}) match nothing that could be "
                f"listed; they are taken to belong to {few(files)}, which cannot be read to the "
                "end"
            )
        if self._unmatched:
            many = plural(len(self._unmatched), what)
            notes.append(f"labels of {many} match no shard: {few(self._unmatched)}{self._hint()}")
        return notes

    def _hint(self) -> str:
        """What to do where names differ in a way that cannot be seen."""
        num = self._names.num_composed_otherwise(self._unmatched)
        if not num:
            return ""
        return f" ({num} of these names {COMPOSED}; write the table with the names of the files)"
