"""Videos that lie one after another in video files: `dataset.episodes`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ray_audit import storage
from ray_audit.config import DatasetConfig, EpisodesConfig
from ray_audit.errors import LabelError, SpecificationError
from ray_audit.formats.labels.clocks import seconds_of
from ray_audit.formats.labels.names import OwnerNames, fill_template, matched_groups
from ray_audit.formats.labels.tables import read_table, tables_at
from ray_audit.printable import few, plural
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard

_COLUMN = re.compile(r"\{([^{}:]+)(?::0?(\d+)d?)?\}")


def with_episodes(shards: Sequence[Shard], dataset: DatasetConfig) -> tuple[list[Shard], list[str]]:
    """A shard for each episode, sorted by key; and notes. The files themselves without episodes.

    Raises:
        SpecificationError: no table is there, or none of its rows names one of the files.
        LabelError: a column is missing, a time is none, or an episode is there twice.
        StorageError: a table cannot be read.
    """
    config = dataset.episodes
    if config is None:
        return list(shards), []
    uris = tables_at(config.uri)
    found: dict[str, Shard] = {}
    unmatched: dict[str, None] = {}
    for group in _groups(shards, config):
        names = OwnerNames((Owner(shard.key) for shard in group), "dataset.episodes")
        by_key = {shard.key: shard for shard in group}
        for uri in uris:
            for video, episode in _rows(uri, config, group[0].key):
                owner = names.find(video)
                if owner is None:
                    unmatched[video] = None
                    continue
                shard = _episode(by_key[owner.shard_key], *episode)
                if shard.key in found:
                    raise LabelError(f"{uri}: episode {shard.key} is there twice")
                found[shard.key] = shard
    if not found:
        raise SpecificationError(
            f"dataset.episodes: {config.uri} names none of the {len(shards)} files; it names "
            f"{few(unmatched) or 'none'}, the files are {few(s.key for s in shards)}"
        )
    return [found[key] for key in sorted(found)], list(_notes(shards, found, unmatched))


def _notes(
    shards: Sequence[Shard], found: dict[str, Shard], unmatched: dict[str, None]
) -> Iterator[str]:
    used = {shard.uri for shard in found.values()}
    unused = [shard.key for shard in shards if shard.uri not in used]
    if unmatched:
        what = few(unmatched)
        yield f"episodes of {plural(len(unmatched), 'file')} that are not listed: {what}"
    if unused:
        yield f"{plural(len(unused), 'file')} without episodes: {few(unused)}"


def _groups(shards: Sequence[Shard], config: EpisodesConfig) -> list[list[Shard]]:
    """Files for which the names of columns are the same."""
    groups: dict[tuple[str, ...], list[Shard]] = {}
    for shard in shards:
        matched = matched_groups(config.match, shard.key)
        if matched is not None:
            groups.setdefault(tuple(matched.values()), []).append(shard)
    if not groups:
        raise SpecificationError(
            f"dataset.episodes.match: {config.match!r} is found in none of the {len(shards)} "
            f"keys; the first is {shards[0].key}"
        )
    return list(groups.values())


def _rows(
    uri: str, config: EpisodesConfig, key: str
) -> Iterator[tuple[str, tuple[str, float, float]]]:
    """Of each row the file's name, and the name, begin and end of the episode."""
    groups = matched_groups(config.match, key)
    video, *named = (
        fill_template(name, key, groups)
        for name in (config.video, config.episode, config.start_s, config.end_s)
    )
    parts = [found[1] for found in _COLUMN.finditer(video)] or [video]
    columns = {f"video:{part}": part for part in parts}
    columns |= dict(zip(("episode", "start", "end"), named, strict=True))
    for chunk in read_table(uri, columns):
        for row, cells in enumerate(_cells(chunk.columns), chunk.first_row):
            start_s, end_s = seconds_of(cells["start"]), seconds_of(cells["end"])
            if not 0 <= start_s < end_s < float("inf"):
                raise LabelError(
                    f"{uri}, row {row}: the episode goes from {cells['start']!r} to "
                    f"{cells['end']!r}; expected seconds of its file, the end behind the start"
                )
            yield _name(video, cells), (_number(cells["episode"]), start_s, end_s)


def _cells(columns: dict[str, object]) -> Iterator[dict[str, str]]:
    lists = [column.to_pylist() for column in columns.values()]  # type: ignore[attr-defined]
    for values in zip(*lists, strict=True):
        yield dict(zip(columns, values, strict=True))


def _name(video: str, cells: dict[str, str]) -> str:
    """A file's name by its column, or made of several."""
    if _COLUMN.search(video) is None:
        return cells[f"video:{video}"]
    return _COLUMN.sub(
        lambda found: _number(cells[f"video:{found[1]}"]).zfill(int(found[2] or 0)), video
    )


def _number(text: str) -> str:
    """A whole number without the fraction that pandas gives it."""
    return text.removesuffix(".0")


def _episode(shard: Shard, name: str, start_s: float, end_s: float) -> Shard:
    if not name or "/" in name:
        raise LabelError(f"dataset.episodes: {name!r} of {shard.key} cannot be an episode's name")
    return replace(
        shard,
        key=f"{shard.key}/{name}",
        etag=f"{shard.etag} {storage.digest(start_s, end_s)}",
        start_s=start_s,
        end_s=end_s,
    )
