"""Names inside container files, read without their content, to match label tables against."""

import tarfile
import zipfile
import zlib

import pyarrow.parquet as pq

from ray_audit import parquet, storage
from ray_audit.config import LabelsConfig
from ray_audit.errors import SpecificationError
from ray_audit.sample_ids import Owner
from ray_audit.samples import Shard
from ray_audit.sources.formats import container_of
from ray_audit.sources.names import fill_template

_IMAGES_PER_CHUNK = 4096
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error)
_MOST_HEADER_BYTES = 2**20
_LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BoundedTarInfo(tarfile.TarInfo):
    """Refuses a header of a header that would fill the memory: tarfile reads them whole."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _LONG_HEADERS and self.size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        done: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return done


def owners_of(shard: Shard, labels: LabelsConfig) -> list[Owner]:
    """What a label table can name in a shard: itself, its arrays or its images.

    A file that cannot be opened owns its labels as a whole; reading it will say why.
    """
    container = container_of(shard.key)
    try:
        if container == "npz":
            return [Owner(shard.key, name) for name in feature_names(_arrays(shard), labels)]
        if container == "tar":
            return [Owner(shard.key, key) for key in _tar_keys(shard)]
        if container == "parquet":
            return [Owner(shard.key, key) for key in _parquet_keys(shard, labels)]
    except (OSError, EOFError, ValueError, NotImplementedError, *_BROKEN):
        return [Owner(shard.key)]
    return [Owner(shard.key)]


def feature_names(names: list[str], labels: LabelsConfig) -> list[str]:
    """Arrays of an npz that hold features: those that are not the labels or frames of another."""
    templates = [t for t in (labels.arrays, labels.frame_arrays) if t]
    beside = {fill_template(template, name) for template in templates for name in names}
    return [name for name in names if name not in beside]


def member_key(name: str) -> tuple[str, str]:
    """WebDataset key and extension of a tar member: split at the first dot of the file name.

    >>> member_key("train/0001.mask.PNG")
    ('train/0001', 'mask.png')
    """
    name = name.removeprefix("./")
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return folder + slash + stem, extension.lower()


def _arrays(shard: Shard) -> list[str]:
    with storage.open_read(shard.uri, shard.size_bytes) as stream, zipfile.ZipFile(stream) as file:
        return [name.removesuffix(".npy") for name in file.namelist()]


def _tar_keys(shard: Shard) -> list[str]:
    keys: dict[str, None] = {}
    plain = shard.key.lower().endswith(".tar")
    with (
        storage.open_read(shard.uri, shard.size_bytes) as stream,
        tarfile.open(
            fileobj=stream, mode="r:" if plain else "r:gz", tarinfo=BoundedTarInfo
        ) as file,
    ):
        while (member := file.next()) is not None:
            if member.isfile():
                keys[member_key(member.name)[0]] = None
            file.members = []  # type: ignore[attr-defined] # it would keep them all
    return list(keys)


def _parquet_keys(shard: Shard, labels: LabelsConfig) -> list[str]:
    with storage.open_read(shard.uri, shard.size_bytes) as stream:
        file = parquet.open_file(stream)
        if labels.key_column is None:
            return [str(row) for row in range(file.metadata.num_rows)]
        keys: list[str] = []
        for batch in file.iter_batches(_IMAGES_PER_CHUNK, columns=[labels.key_column]):
            keys += map(str, batch.column(0).to_pylist())
        return keys


def check_parquet(shard: Shard, columns: list[str]) -> None:
    """Refuse a Parquet dataset whose first file lacks a column.

    Raises:
        SpecificationError: names the columns that are there.
    """
    try:
        with storage.open_read(shard.uri, shard.size_bytes) as stream:
            found = pq.read_schema(stream).names
    except (OSError, ValueError):
        return  # not a Parquet file: reading it will fail that shard, and say why
    missing = [column for column in columns if column not in found]
    if missing:
        raise SpecificationError(
            f"dataset: {shard.key} has no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, found))}. See dataset.labels.column, image_column, key_column"
        )
