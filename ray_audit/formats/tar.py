"""WebDataset tars, plain or of gzip: the members of one key are one sample."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ray_audit import storage
from ray_audit.config import DatasetConfig, LabelsConfig
from ray_audit.errors import LabelError, SampleError
from ray_audit.formats.base import BrokenOffError, Format, Item, table_labels
from ray_audit.formats.job import UnitContext
from ray_audit.formats.label_changes import LabelChanges
from ray_audit.formats.labels.cells import label_of
from ray_audit.formats.labels.classes import ClassNames
from ray_audit.formats.labels.nested_json import dumped, load_document, value_at, with_value
from ray_audit.formats.labels.relabel import is_label, relabelled
from ray_audit.formats.mask_files import mask_like
from ray_audit.formats.tar_apart import groups_apart
from ray_audit.formats.tar_members import (
    MemberNames,
    first_key,
    is_plain,
    is_unsafe,
    label_member,
    members_of,
    opened_tar,
    refusal,
    sample_keys,
)
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard


class TarImages(Format):
    """An image, its label or mask and whatever else, told apart by their extensions."""

    name = "tar"
    kind = "images"
    extensions = ("tar", "tar.gz", "tgz")
    forms = frozenset({"column", "masks"})
    holds_several = True

    def names(self, shard: Shard, labels: LabelsConfig) -> Iterator[str]:
        """Keys of the images; a key may come twice."""
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            yield from sample_keys(stream, shard, labels)

    def read(self, shards: tuple[Shard, ...], job: UnitContext) -> Iterator[Item]:
        """Samples in the archive's order; those that lack an image or a label come last.

        For their other members may lie further on, in an archive that is sorted by kind. Samples
        whose members do lie apart are read behind the others, from where they lie; in an archive of
        gzip, or one that breaks off, they are a failure in the tally: holding them would take the
        memory of the whole archive.
        """
        (shard,) = shards
        reader = _TarReader(shard, job)
        group, others = _MemberGroup(""), _MemberGroup("")
        broken: Exception | None = None
        try:
            for key, extension, content in reader.members():
                if key != group.key and group.members and first_key(key) == group.key:
                    # A further picture of the sample (0.depth.png), or one of its own.
                    if key != others.key:
                        yield from reader.take(others)
                        others = _MemberGroup(key)
                    others.add(extension, content)
                    continue
                if key != group.key:
                    yield from reader.take(group)
                    yield from reader.take(others)
                    group, others = _MemberGroup(key), _MemberGroup("")
                group.add(extension, content)
        except Exception as error:
            broken = error
        for last in (group, others):
            yield from reader.take(last, is_cut=broken is not None)
        yield from reader.rest(broken)

    def write(
        self,
        shard: Shard,
        dataset: DatasetConfig,
        changes: LabelChanges,
        to_uri: str,
        left_out: dict[str, str],
    ) -> int:
        """Rewrite the label (or mask) members; others are copied as they stand.

        Links, devices and members whose names lead out of the folder in which they are unpacked
        are left out: whoever unpacks the copy must not meet them.
        """
        labels, classes = dataset.labels, ClassNames.of(dataset)
        names, num_written = MemberNames(labels), 0
        with (
            storage.open_read(shard.uri, shard.size_bytes) as source,
            storage.open_write(to_uri) as sink,
            opened_tar(source, shard.key) as old,
            tarfile.open(
                fileobj=sink,
                mode="w|" if is_plain(shard.key) else "w|gz",
                format=tarfile.PAX_FORMAT,
            ) as new,
        ):
            for member in members_of(old, shard.size_bytes):
                new.members = []  # type: ignore[attr-defined] # it would keep them all
                refused = refusal(member)
                if refused is not None:
                    left_out[f"{shard.key}#{member.name}"] = str(refused)
                    continue
                content = old.extractfile(member) if member.isfile() else None
                key = names.label_key(member.name)
                if content is not None and key is not None:
                    stored = content.read()
                    changed = _new_member(stored, Owner(shard.key, key), labels, classes, changes)
                    num_written += changed is not None
                    content = io.BytesIO(stored if changed is None else changed)
                    member.size = len(content.getvalue())
                new.addfile(member, content)
        return num_written

    def is_clean(self, shard: Shard) -> bool:
        """Whether it has no member that a copy must not have."""
        with (
            storage.open_read(shard.uri, shard.size_bytes) as source,
            opened_tar(source, shard.key, "r:") as file,
        ):
            # All are looked at: an archive that breaks off is found out.
            refused = [refusal(member) for member in members_of(file, shard.size_bytes)]
            return not any(refused)


@dataclass
class _MemberGroup:
    """Members of one key that follow each other: extension -> content, or why it is not read."""

    key: str
    members: dict[str, bytes | SampleError] = field(default_factory=dict)

    def add(self, extension: str, content: bytes | SampleError) -> None:
        """Take a member; of two that are the same of a sample, none can be told to be right."""
        if extension in self.members:
            why = f"member {f'{self.key}.{extension}'!r} is there twice; keys must be unique"
            content = SampleError("duplicate_key", f"{why} in a file, in capitals or not")
        self.members[extension] = content


class _TarReader:
    def __init__(self, shard: Shard, job: UnitContext) -> None:
        self._shard = shard
        self._job = job
        self._names = MemberNames(job.dataset.labels)
        self._table = table_labels(shard, job)
        self._by_table = job.dataset.labels.form == "images"
        self._reported: set[str] = set()
        self._partial: dict[str, bool] = {}  # whether there was an image
        self._apart: dict[str, None] = {}

    def members(self) -> Iterator[tuple[str, str, bytes | SampleError]]:
        """Key, extension and content of the images, labels and masks; others are not read."""
        shard = self._shard
        with (
            self._job.tally.open_read(shard.uri, shard.size_bytes) as stream,
            opened_tar(stream, shard.key) as file,
        ):
            for member in members_of(file, shard.size_bytes):
                if member.isdir():
                    continue
                found, refused = self._names.split(member.name), refusal(member)
                if refused is not None and (found is None or is_unsafe(member.name)):
                    self._refuse(refused, found)
                elif found is not None:
                    content = None if refused else file.extractfile(member)
                    yield *found, refused or (content.read() if content else b"")

    def _refuse(self, refused: SampleError, found: tuple[str, str] | None) -> None:
        """Record a member that is not read; only the image stands for a sample."""
        shard_key = self._shard.key
        if found is None or self._job.takes(Owner(shard_key, found[0])):
            num = int(found is not None and found[1] in self._names.images)
            self._job.tally.fail(shard_key, refused, stage="read", num_samples=num)

    def take(self, group: _MemberGroup, is_cut: bool = False) -> Iterator[Item]:
        """The sample of some members, if they are all of it that there is."""
        if not group.members:
            return
        key, item = group.key, self._item(group)
        if key in self._reported:
            yield item  # for the second time: the reader of containers says so
        elif key in self._partial or key in self._apart:
            self._partial.pop(key, None)
            self._apart[key] = None
        elif item.error is not None or (item.image and _is_labelled(item)):
            self._reported.add(key)
            yield item
        elif not is_cut or self._by_table:
            self._partial[key] = bool(item.image)
        # Where the archive breaks off, the last sample's label is lost with the rest.

    def rest(self, broken: Exception | None) -> Iterator[Item]:
        """What turned out not to be whole; then the error, where the archive breaks off."""
        if broken is not None and not self._reported and not self._by_table:
            # All labels may lie behind the damage.
            raise BrokenOffError(max(1, sum(self._partial.values())), broken)
        for key, has_image in self._partial.items():
            if not has_image:
                error = SampleError("no_image", f"{key} has no image member")
                yield Item(self._id(key), self._shard.key, error=error)
            elif first_key(key) == key or not self._is_sample(first_key(key)):
                yield Item(self._id(key), self._shard.key)
        if self._apart and (broken is not None or not is_plain(self._shard.key)):
            self._fail_apart()
        elif self._apart:
            yield from self._together()
        if broken is not None:
            raise broken

    def _is_sample(self, key: str) -> bool:
        return key in self._reported or key in self._partial or key in self._apart

    def _keys_apart(self) -> list[str]:
        return [key for key in self._apart if self._job.takes(Owner(self._shard.key, key))]

    def _together(self) -> Iterator[Item]:
        """The samples whose members lie apart, by a second look at the archive."""
        shard, keys = self._shard, self._keys_apart()
        num_left = len(keys)
        try:
            with self._job.tally.open_read(shard.uri, shard.size_bytes) as stream:
                for key, members in groups_apart(stream, shard, self._names, keys):
                    item = self._item(_MemberGroup(key, members))
                    if item.error is None and not item.image:
                        error = SampleError("no_image", f"{key} has no image member")
                        item = replace(item, error=error)
                    yield item
                    num_left -= 1
        except Exception as error:
            raise BrokenOffError(num_left, error, is_of_fold=True) from error

    def _fail_apart(self) -> None:
        apart = self._keys_apart()
        few = ", ".join(apart[:3]) + (", ..." if len(apart) > 3 else "")
        error = SampleError(
            "members_apart",
            f"the members of {len(apart)} samples ({few}) lie apart, as in an archive that is "
            "sorted by kind, which is read from a plain archive that is whole: unpack it "
            "(gzip -d), or pack the files with tar --sort=name",
        )
        self._job.tally.fail(self._shard.key, error, stage="read", num_samples=len(apart))

    def _id(self, key: str) -> str:
        return Owner(self._shard.key, key).key

    def _item(self, group: _MemberGroup) -> Item:
        key = group.key
        item = Item(self._id(key), self._shard.key, class_index=self._table.get(key))
        content: dict[str | None, bytes] = {}
        for extension, found in group.members.items():
            if isinstance(found, SampleError):
                return replace(item, error=found)
            content[extension] = found
        images = [extension for extension in self._names.images if extension in content]
        image = content[images[0]] if images else b""
        item = replace(item, image=image, mask=content.get(self._names.mask))
        text = content.get(self._names.label)
        if text is None:
            return item
        try:
            return replace(item, label=_label(text, self._names.label_path))
        except LabelError as error:
            return replace(item, error=SampleError("label_outside", str(error)))


def _label(text: bytes, path: str | None) -> object:
    """A label as a member has it: text, or what a path leads to in a JSON document.

    Raises:
        LabelError: it is no JSON.
    """
    if path is None:
        return text.decode("utf-8", "replace").strip()
    return label_of(value_at(load_document("the label's member", io.BytesIO(text)), path))


def _is_labelled(item: Item) -> bool:
    return any(label is not None for label in (item.label, item.class_index, item.mask))


def _new_member(
    stored: bytes, owner: Owner, labels: LabelsConfig, classes: ClassNames, changes: LabelChanges
) -> bytes | None:
    if labels.masks:
        mask = changes.mask(owner)
        return None if mask is None else mask_like(stored, mask, labels)
    new = changes.classes.get(owner)
    path = label_member(labels.column)[1]
    if path is not None:
        document = load_document("the label's member", io.BytesIO(stored))
        before = value_at(document, path)
        if new is None or not is_label(before, classes):
            return None
        document = with_value(document, path, relabelled(before, new, classes))
        return dumped(document, stored)
    text = stored.decode("utf-8", "surrogateescape")
    old = text.strip()
    if new is None or not is_label(old, classes):
        return None
    changed = text.replace(old, str(relabelled(old, new, classes)), 1)
    return changed.encode("utf-8", "surrogateescape")
