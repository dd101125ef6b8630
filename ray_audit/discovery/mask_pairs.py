"""Images, or volumes, beside masks of the same size."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from ray_audit.discovery.array_files_found import is_array_file
from ray_audit.discovery.class_names import colour_names, names_file
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import not_for_training
from ray_audit.discovery.masks_by_class import masks_by_class
from ray_audit.discovery.media_groups import media_groups
from ray_audit.discovery.name_pairs import PairRule, pair_rules
from ray_audit.discovery.paired_files import PairTable, pair_tables, pairs_by_table
from ray_audit.discovery.pixel_values import Pixels, guessed, read_pixels
from ray_audit.discovery.tree import Tree, ending, extension, folder_of
from ray_audit.discovery.words import MASK
from ray_audit.formats.registry import format_of

_PARTS = re.compile(r"(?:^|[/_\-. ])(train|val|test)")
_NUM_MASKS = 8
_NUM_OTHERS = 6
_CONTRAST = 1.5
_MOST_COLOURS = 256  # of what no word calls a mask
_MOST_WITHOUT_PAIR = 3  # of more pictures in a folder, one pair is chance

_Read = Callable[[str], Pixels | None]


@dataclass(frozen=True)
class _Candidate:
    rule: PairRule
    rank: tuple[float, ...]


def mask_proposals(tree: Tree) -> Iterator[Guess]:
    """Datasets of images and masks, the likeliest first."""
    pictures = [path for path in tree.few if _is_picture(path)]
    read = cache(lambda path: read_pixels(tree, path))
    found = []
    paired = pairs_by_table(tree)
    arrays = [path for path in tree.few if is_array_file(path)]
    for rule in pair_rules(pictures, [*pictures, *arrays])[:40]:
        if any(paired.get(media, label) != label for media, label in rule.pairs):
            continue  # a table says which mask is whose, and another one
        rank = _rank(rule, pictures, read)
        if rank is not None:
            found.append(_Candidate(rule, rank))
    found.sort(key=lambda candidate: candidate.rank, reverse=True)
    yield from masks_by_class(tree, [candidate.rule for candidate in found], read)
    for candidate in found:
        rivals = [o.rule for o in found if o.rule.uri == candidate.rule.uri and o is not candidate]
        also = tuple(f"masks: {tree.at(rule.template)}" for rule in rivals[:3])
        proposal = _with_others(_proposal(tree, candidate.rule, read), candidate, found)
        yield proposal.with_also(also)
    for table in pair_tables(tree):
        yield from _of_table(tree, table, read)


def _of_table(tree: Tree, table: PairTable, read: _Read) -> Iterator[Guess]:
    """Images with the masks that a table names."""
    masks_first = _are_masks_first(table, read)
    pairs = tuple((b, a) for a, b in table.pairs) if masks_first else table.pairs
    images = {image for image, _ in pairs}
    groups = media_groups(tree, "images", images.__contains__)
    shapes = [(read(image), read(label)) for image, label in pairs[:2]]
    if not groups or any(a and b and a.shape != b.shape for a, b in shapes):
        return
    guess = _proposal(tree, PairRule(table.path, table.path, None, pairs, ""), read)
    labels = {**guess.dataset["labels"], **table.keys(masks_first)}
    dataset = {**guess.dataset, "uri": groups[0].uri(tree), "labels": labels}
    said = f"{table.path} names the mask of each of {len(images)} images"
    yield replace(guess, dataset=dataset, assumed=(said, *guess.assumed[1:]))


def _are_masks_first(table: PairTable, read: _Read) -> bool:
    """Whether the first of two columns is that of the masks: by what they are called, or hold."""
    first, second = table.pairs[0]
    words = [
        bool(MASK.search(f"{title} {_own(path, other)}"))
        for title, path, other in (
            (table.title(False), first, second),
            (table.title(True), second, first),
        )
    ]
    if words[0] != words[1]:
        return words[0]
    found = read(first), read(second)
    if found[0] is None or found[1] is None:
        return False
    return _contrast(found[1], found[0]) > _contrast(found[0], found[1])


def _with_others(guess: Guess, chosen: _Candidate, found: Sequence[_Candidate]) -> Guess:
    """The guess with the other images of the same masks, such as further modalities."""
    masks = {label for _, label in chosen.rule.pairs}
    others = [
        candidate.rule
        for candidate in found
        if candidate.rule.uri != chosen.rule.uri
        and len(masks & {label for _, label in candidate.rule.pairs}) > len(masks) / 2
    ]
    if not others:
        return guess
    ways = "; ".join(
        f"{rule.uri}" + (f" with match: {rule.match}" if rule.match else "")
        for rule in others[:_NUM_OTHERS]
    )
    question = (
        f"which images go into your model, as each mask has several: here {chosen.rule.uri}. For "
        f"others give in dataset.uri {ways}. Several files are not put together as channels"
    )
    return replace(guess, questions=(*guess.questions, question))


def _is_picture(path: str) -> bool:
    form = format_of(path)
    return form is not None and form.kind == "images" and not form.holds_several


def _with_numbered(tree: Tree, rule: PairRule) -> tuple[str, list[str]]:
    """The template of masks, of several for an image where some have a second one (`x_mask_1`)."""
    if "{" not in rule.template:
        return rule.template, []  # of a table
    media, label = rule.pairs[0]
    end, stem = ending(label), media.rsplit("/", 1)[-1].removesuffix(extension(media))
    name = label.rsplit("/", 1)[-1].removesuffix(end)
    tail = name.removeprefix(stem)
    if not tail or tail == name:
        return rule.template, []
    again = re.compile(rf"(.*{re.escape(tail)})[_\- ]\d+{re.escape(end)}")
    found = (again.fullmatch(path) for path in tree.files)
    first = next((match for match in found if match and f"{match[1]}{end}" in tree.sizes), None)
    if first is None:
        return rule.template, []
    template = f"{rule.template.removesuffix(end)}*{end}"
    return template, [f"several masks of one image are put together, such as {first[0]}"]


def _part_of(path: str) -> str:
    """The part of a dataset that a path names, empty where it names none.

    >>> _part_of("data/trainannot/{stem}.png"), _part_of("x/val/*.png"), _part_of("a/b.png")
    ('train', 'val', '')
    """
    found = _PARTS.search(path.lower())
    return found[1] if found else ""


def _num_beside(pictures: Sequence[str], path: str) -> int:
    """How many pictures lie in the folder of one, and end as it does."""
    place = folder_of(path), extension(path)
    return sum((folder_of(other), extension(other)) == place for other in pictures)


def _rank(rule: PairRule, pictures: Sequence[str], read: _Read) -> tuple[float, ...] | None:
    """How surely the labels of a rule are masks of its images; None where they are not."""
    num = len(rule.pairs)
    if not num or (num == 1 and _num_beside(pictures, rule.pairs[0][0]) > _MOST_WITHOUT_PAIR):
        return None
    word = _has_word(rule)
    first, last = rule.pairs[0], rule.pairs[-1]
    is_volume = extension(first[0]) in (".nii", ".nii.gz")
    contrast = 0.0
    for media, label in dict.fromkeys((first, last)):
        image, other = read(media), read(label)
        if image is None or other is None:
            if not (word or is_volume):
                return None
            continue
        if image.shape != other.shape:
            return None
        if not word and other.is_colour and len(other.values) > _MOST_COLOURS:
            return None
        contrast += _contrast(image, other)
    looks = contrast / len({first, last})
    if looks < _CONTRAST and not (word and looks >= 1):
        return None
    index = read(last[1])
    is_plain = index is not None and not index.is_colour
    varied = {int(v) for path in (first[1], last[1]) for v in _values(read(path))}
    parts = {_part_of(rule.uri), _part_of(rule.template)} - {""}
    is_training = not not_for_training(rule.uri)
    return (
        *(len(varied) != 1, len(parts) < 2, word, is_plain, is_training),
        *(min(num, 12), not rule.match, min(looks, 3.0), num),
    )


def _values(pixels: Pixels | None) -> Iterable[int]:
    return (-1, -2) if pixels is None else pixels.values.tolist()


def _has_word(rule: PairRule) -> int:
    """1 where a word for masks stands in the labels' names alone, -1 where in the images'."""
    in_label = bool(MASK.search(_own(rule.pairs[0][1], rule.pairs[0][0])))
    in_media = bool(MASK.search(_own(rule.pairs[0][0], rule.pairs[0][1])))
    return in_label - in_media


def _own(path: str, other: str) -> str:
    """Parts of a path, and of its name, that another has not."""
    words = [w for part in path.split("/") for w in re.split(r"[_\-. ]", part)]
    theirs = {w for part in other.split("/") for w in re.split(r"[_\-. ]", part)}
    return " ".join(word for word in words if word not in theirs)


def _contrast(image: Pixels, mask: Pixels) -> float:
    """How many more values an image has than its mask."""
    ratio = len(image.values) / max(1, len(mask.values))
    return ratio * (2 if image.is_colour and not mask.is_colour else 1)


def _proposal(tree: Tree, rule: PairRule, read: _Read) -> Guess:
    names = names_file(tree)
    step = max(1, len(rule.pairs) // _NUM_MASKS)
    paths = [label for _, label in rule.pairs[::step]][:_NUM_MASKS]
    masks = [mask for mask in map(read, paths) if mask is not None]
    template, more = _with_numbered(tree, rule)
    labels = {"masks": tree.at(template)} | ({"match": rule.match} if rule.match else {})
    assumed = [f"masks are the files {rule.difference}", *more]
    questions: list[str] = []
    dataset = {"kind": "images", "uri": tree.at(rule.uri), "labels": labels}
    if masks:
        guess = guessed(masks, paths, names, colour_names(tree))
        labels |= guess.labels
        labels |= {"variable": masks[0].variable} if masks[0].variable else {}
        dataset |= guess.dataset
        assumed += guess.assumed
        questions += guess.questions
    else:
        questions.append("classes: masks are too large to look into, or cannot be read")
        dataset["classes"] = names.names if names else ["background", "foreground"]
    form = format_of(rule.pairs[0][0])
    what = "images beside masks"
    if form is not None and form.is_volume:
        what = "volumes beside label volumes"
        dataset["volume"] = {"axis": 2, "window": [-160, 240]}
        questions.append("volume.window: the range of values as your training cut it off")
    elif masks and all(mask.is_stack for mask in masks):
        what = "stacks of pages beside stacks of masks"
        dataset["volume"] = {}
        assumed.append("each page is a slice")
    if rule.others:
        assumed.append(f"only the part for training: {', '.join(rule.others)} are there too")
    return Guess(what, dataset, tuple(assumed), tuple(questions))
