"""Files that a dataset could consist of, as patterns."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from ray_audit.discovery.name_pairs import folder_pattern
from ray_audit.discovery.tree import Tree, extension, folder_of
from ray_audit.formats.registry import format_of

_FEWEST_FRACTION = 0.05  # of the files of a kind: an extension that is rarer is an exception


@dataclass(frozen=True)
class MediaGroup:
    """Files of one kind at one depth.

    Attributes:
        kind: of datasets: video, images or sequences.
        patterns: below the tree, one for each extension.
        files: paths below the tree.
        others: parts of the dataset that the patterns leave out, such as `val`.
        left_out: files of other extensions that are rare.
    """

    kind: str
    patterns: tuple[str, ...]
    files: tuple[str, ...]
    others: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def uri(self, tree: Tree) -> str | list[str]:
        """For `dataset.uri`."""
        uris = [tree.at(pattern) for pattern in self.patterns]
        return uris[0] if len(uris) == 1 else uris

    @property
    def root(self) -> str:
        """The folders above the first wildcard."""
        return self.patterns[0][: self.patterns[0].index("*")].rpartition("/")[0]


def media_groups(tree: Tree, kind: str, is_media: Callable[[str], bool]) -> list[MediaGroup]:
    """Groups of files of a kind that are one sample each, the largest first."""
    by_depth: dict[int, list[str]] = defaultdict(list)
    for path in tree.files:
        form = format_of(path)
        if form is not None and form.kind == kind and not form.holds_several and is_media(path):
            by_depth[path.count("/")].append(path)
    groups = [_group(kind, paths) for paths in by_depth.values()]
    return sorted(groups, key=lambda group: -len(group.files))


def _group(kind: str, paths: list[str]) -> MediaGroup:
    folders, others = folder_pattern([folder_of(path) for path in paths])
    folder = "/".join(part for part in folders if part)
    counts: dict[str, int] = defaultdict(int)
    for path in paths:
        counts[path[len(path) - len(extension(path)) :]] += 1
    kept = [end for end, num in counts.items() if num >= _FEWEST_FRACTION * len(paths)]
    patterns = tuple(f"{folder}/*{end}" if folder else f"*{end}" for end in sorted(kept))
    left_out = tuple(p for p in paths if not p.endswith(tuple(kept)))
    return MediaGroup(kind, patterns, tuple(paths), others, left_out[:3])
