"""DICOM series, a folder each, beside label volumes in another container."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ray_audit.discovery.class_names import names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.name_pairs import folder_pattern
from ray_audit.discovery.pixel_values import guessed, read_pixels
from ray_audit.discovery.tree import Tree, extension, folder_of
from ray_audit.formats.registry import format_of

_DICOM = ".dcm"
_NUM_MASKS = 8
_SOFT_TISSUE = [-160, 240]


@dataclass(frozen=True)
class _Pairing:
    """How label volumes are called: a template, the pattern of its group, and what they are."""

    template: str
    match: str | None
    labels: tuple[str, ...]


def series_proposals(tree: Tree) -> Iterator[Guess]:
    """Datasets of series and label volumes, those of most pairs first."""
    by_depth: dict[int, list[str]] = {}
    for path in tree.few:
        if extension(path) == _DICOM and folder_of(path) not in by_depth.get(path.count("/"), []):
            by_depth.setdefault(path.count("/"), []).append(folder_of(path))
    volumes = [path for path in tree.few if extension(path) != _DICOM and _is_volume(path)]
    for folders in sorted(by_depth.values(), key=len, reverse=True) if volumes else ():
        pattern, left_out = folder_pattern(folders)
        kept = [folder for folder in folders if _fits(folder, pattern)]
        ways = sorted(_ways(kept, pattern, volumes), key=lambda way: -len(way.labels))
        if ways and 2 * len(ways[0].labels) > len(kept):
            yield _proposal(tree, pattern, ways[0], len(kept), left_out)


def _is_volume(path: str) -> bool:
    form = format_of(path)
    return form is not None and form.is_volume


def _fits(folder: str, pattern: Sequence[str]) -> bool:
    return all(own in ("*", part) for own, part in zip(pattern, folder.split("/"), strict=True))


def _ways(
    folders: Sequence[str], pattern: Sequence[str], volumes: Sequence[str]
) -> Iterator[_Pairing]:
    """Ways to call a label volume by one of the folders that a series lies in."""
    varied = [at for at, part in enumerate(pattern) if part == "*"] or [len(pattern) - 1]
    names: Mapping[int, list[str]] = {at: [f.split("/")[at] for f in folders] for at in varied}
    known = set(volumes)
    for at in varied:
        own = names[at][0]
        for volume in volumes:
            if not own or own not in volume or len(set(names[at])) < len(folders):
                continue
            found = (volume.replace(own, name) for name in names[at])
            labels = tuple(path for path in found if path in known)
            is_last = at == len(pattern) - 1
            match = None if is_last else f"^{'[^/]+/' * (at - varied[0])}([^/]+)/"
            template = volume.replace(own, "{stem}" if is_last else "{1}")
            yield _Pairing(template, match, labels)


def _proposal(
    tree: Tree, pattern: Sequence[str], way: _Pairing, num: int, left_out: Sequence[str]
) -> Guess:
    names = names_file(tree)
    paths = way.labels[:: max(1, len(way.labels) // _NUM_MASKS)][:_NUM_MASKS]
    masks = [mask for mask in (read_pixels(tree, path) for path in paths) if mask is not None]
    labels = {"masks": tree.at(way.template)} | ({"match": way.match} if way.match else {})
    uri = tree.at("/".join([*filter(None, pattern), f"*{_DICOM}"]))
    dataset = {"kind": "images", "uri": uri, "labels": labels}
    assumed = [f"each folder is a series; {len(way.labels)} of {num} have {way.template}"]
    questions = ["volume.window: the range of values as your training cut it off"]
    if masks:
        guess = guessed(masks, paths, names)
        labels |= guess.labels
        dataset |= guess.dataset
        assumed += guess.assumed
        questions += guess.questions
    else:
        dataset["classes"] = names.names if names else ["background", "foreground"]
        questions.append("classes: label volumes are too large to look into, or cannot be read")
    if left_out:
        assumed.append(f"only the part for training: {', '.join(left_out)} are there too")
    dataset["volume"] = {"window": _SOFT_TISSUE}
    return Guess("DICOM series beside label volumes", dataset, tuple(assumed), tuple(questions))
