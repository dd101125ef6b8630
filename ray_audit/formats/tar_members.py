"""Members of a WebDataset tar, in its order: whose they are, and which are refused."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ray_audit import storage
from ray_audit.config import LabelsConfig
from ray_audit.errors import SampleError
from ray_audit.formats.images import EXTENSIONS
from ray_audit.formats.labels.names import fill_template
from ray_audit.samples import Shard

_JSON = "json."
_MAX_HEADER_BYTES = 2**20
_LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BoundedTarInfo(tarfile.TarInfo):
    """Refuses what tarfile lets pass.

    It reads a header of a header whole, whatever size it states, and takes a header that is
    damaged or missing for the end of the archive, so that the rest would be lost without a word.
    """

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "BoundedTarInfo":
        """The next member's header.

        Raises:
            tarfile.ReadError: it is damaged, or the archive ends without the mark of its end.
        """
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            raise tarfile.ReadError("the archive breaks off: it has no end mark") from None
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a member's header is damaged ({error})") from None

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _LONG_HEADERS and self.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        done: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return done


@contextmanager
def opened_tar(stream: IO[bytes], key: str, mode: str = "r|") -> Iterator[tarfile.TarFile]:
    """An archive by its file name, plain or of gzip; `r|` reads ahead only, `r:` skips contents."""
    suffix = "" if is_plain(key) else "gz"
    with tarfile.open(fileobj=stream, mode=mode + suffix, tarinfo=BoundedTarInfo) as file:  # type: ignore[call-overload]
        yield file


def is_plain(key: str) -> bool:
    """Whether an archive is not compressed, by its name."""
    return key.lower().endswith(".tar")


def members_of(file: tarfile.TarFile, stored_bytes: int) -> Iterator[tarfile.TarInfo]:
    """All members, one at a time.

    Args:
        file: opened by `opened_tar`.
        stored_bytes: size of the archive as it is stored.

    Raises:
        tarfile.TarError, OSError, zlib.error: the archive is damaged.
        SampleError: a member would fill the memory.
    """
    while (member := file.next()) is not None:
        file.members = []  # type: ignore[attr-defined] # it would keep them all
        if storage.inflates_too_far(stored_bytes, member.size):
            raise SampleError(
                "too_large",
                f"member {member.name!r} would inflate to {member.size} bytes, the archive has "
                f"{stored_bytes}",
            )
        yield member


def refusal(member: tarfile.TarInfo) -> SampleError | None:
    """Why a member is not read, and never written into another archive."""
    if (member.isreg() or member.isdir()) and not is_unsafe(member.name):
        return None
    if member.islnk():
        why = "is a link to another member; pack the files with tar --hard-dereference"
    elif not (member.isreg() or member.isdir()):
        why = "is a link or device; expected regular files"
    else:
        why = "has a name that leads out of the archive, or is not UTF-8; expected relative names"
    return SampleError("tar_member", f"member {member.name!r} {why}")


def is_unsafe(name: str) -> bool:
    r"""Whether a name leads out of the folder into which it would be unpacked, or is no text.

    >>> is_unsafe("a/../../b"), is_unsafe("/etc/x"), is_unsafe("a\udcff"), is_unsafe("a/b..c")
    (True, True, True, False)
    """
    is_text = name.encode("utf-8", "ignore").decode() == name
    leads_out = name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/")
    return leads_out or not is_text


class MemberNames:
    """Splits the names of members into a sample's key and what the member is of it.

    Args:
        labels: name the extensions of labels, masks and images.
    """

    def __init__(self, labels: LabelsConfig) -> None:
        self.label, self.label_path = label_member(labels.column)
        self.mask = None
        if labels.masks is not None:
            self.mask = _at_first_dot(fill_template(labels.masks, "key").rsplit("/", 1)[-1])[1]
        fields = (self.label, self.mask)
        images = dict.fromkeys((labels.image_column, *EXTENSIONS))
        self.images = tuple(image for image in images if image not in fields)
        self._extensions = {*self.images, self.label, self.mask} - {None}

    def split(self, name: str) -> tuple[str, str] | None:
        """Key and extension of an image, label or mask; None for all others.

        As in WebDataset, the extension begins at the first dot of the file name; where it is none
        that is asked for, the dots before the longest that is belong to the key.

        >>> names = MemberNames(LabelsConfig(column="cls"))
        >>> names.split("a/0001.PNG"), names.split("img.0001.cls"), names.split("0001.json")
        (('a/0001', 'png'), ('img.0001', 'cls'), None)
        """
        folder, slash, file = name.removeprefix("./").rpartition("/")
        key, extension = _at_first_dot(file)
        while extension not in self._extensions:
            more, extension = _at_first_dot(extension)
            if not extension:
                return None
            key += "." + file[len(key) + 1 : len(key) + 1 + len(more)]
        return folder + slash + key, extension

    def label_key(self, name: str) -> str | None:
        """The sample of which a member is the label or mask, None for other members."""
        found = self.split(name)
        return found[0] if found is not None and found[1] == (self.mask or self.label) else None


def label_member(column: str | None) -> tuple[str | None, str | None]:
    """Extension of the label's member, and the label's path in it where it is a JSON document.

    >>> label_member("cls"), label_member("json.objects.0.name")
    (('cls', None), ('json', 'objects.0.name'))
    """
    if column is None or not column.startswith(_JSON):
        return column, None
    return _JSON[:-1], column.removeprefix(_JSON)


def first_key(key: str) -> str:
    """The key of a sample of which a member with dots in its own key may be a further part.

    >>> first_key("a.b/0001.depth")
    'a.b/0001'
    """
    folder, slash, file = key.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _at_first_dot(file: str) -> tuple[str, str]:
    stem, _, extension = file.partition(".")
    return stem, extension.lower()


def sample_keys(stream: IO[bytes], shard: Shard, labels: LabelsConfig) -> Iterator[str]:
    """Keys of the samples in a tar, without reading their content; a key may come twice."""
    names = MemberNames(labels)
    with opened_tar(stream, shard.key, "r:") as file:
        for member in members_of(file, shard.size_bytes):
            found = None if member.isdir() else names.split(member.name)
            if found is not None and found[1] in names.images and not is_unsafe(member.name):
                yield found[0]
