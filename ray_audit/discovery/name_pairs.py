"""How names of label files follow from those of the files that they label.

Two paths belong together by what they share: `images/x.jpg` and `masks/x.png` differ in a folder,
`x.jpg` and `x_mask.png` in a suffix, `p1/ct.nii.gz` and `p1/seg.nii.gz` in all of the name. What
differs in the same way in most pairs is a rule, and a rule is a template.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ray_audit.discovery.tree import ending, extension, folder_of

_NUM_LABELS = 60
_NUM_MEDIA = 600
_MOST_SERIES = 12
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"}
_NUMBER_WORD = r"[A-Za-z]*\(?\d+\)?"
_BOUNDARY = re.compile(r"[_\-. ]|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")


@dataclass(frozen=True)
class PairRule:
    """How label files are named after media files.

    Attributes:
        uri: pattern of the media files, below the tree.
        template: of the label file's path, below the tree.
        match: `labels.match`, where the template uses its groups.
        pairs: media and label files that it joins.
        difference: what the label's path has that the other has not, in words.
        others: parts of the dataset that the pattern leaves out, such as `val`.
    """

    uri: str
    template: str
    match: str | None
    pairs: tuple[tuple[str, str], ...]
    difference: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Difference:
    """What a pair of paths does not share.

    Attributes:
        depth: folders of the media file.
        folders: the media file's own folders, and the label's.
        behind: shared folders behind them.
        stems: the media file's own part of the stem, and the label's; both whole where they
            share nothing.
        where: of the stem: suffix, prefix, middle or whole.
        extensions: both.
    """

    depth: int
    folders: tuple[tuple[str, ...], tuple[str, ...]]
    behind: int
    stems: tuple[str, str]
    where: str
    extensions: tuple[str, str]


def pair_rules(media: Sequence[str], labels: Sequence[str]) -> list[PairRule]:
    """Rules that join media and label files, those of most pairs first."""
    chosen = _spread(labels, _NUM_LABELS)
    near = _spread(media, _NUM_MEDIA)
    series = _series(near)
    votes: dict[_Difference, list[tuple[str, str]]] = defaultdict(list)
    for label in chosen:
        for difference, path in _partners(label, near, series):
            votes[difference].append((path, label))
    ranked = sorted(votes.items(), key=lambda item: -len(item[1]))
    rules = []
    for difference, pairs in ranked:
        media_of = {path for path, _ in pairs}
        # A name that is the same for all says nothing unless it lies in folders of their own.
        if len(media_of) < len(pairs) or (difference.where == "whole" and _same_folder(pairs)):
            continue
        rules.append(_rule(difference, pairs))
    return rules


def _spread(paths: Sequence[str], num: int) -> list[str]:
    """Some paths: the first of each folder, as many of each."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_folder[folder_of(path)].append(path)
    each = max(2, num // max(1, len(by_folder)))
    return [path for inner in by_folder.values() for path in inner[:each]][: 2 * num]


def _same_folder(pairs: Sequence[tuple[str, str]]) -> bool:
    return len(pairs) > 1 and len({folder_of(path) for path, _ in pairs}) < len(pairs)


def _partners(
    label: str, media: Sequence[str], series: Mapping[str, object]
) -> Iterator[tuple[_Difference, str]]:
    """The media file whose name is most like a label's, of each series."""
    best: dict[object, tuple[tuple[int, ...], _Difference, str]] = {}
    for path in media:
        if path == label:
            continue
        difference = _difference(path, label)
        if difference is None:
            continue
        own, other = difference.folders
        shared = len(_stem(path)) - len(difference.stems[0]) if difference.where != "whole" else -1
        key = (shared, -len(difference.stems[0]), -len(own) - len(other))
        kind = series[path]
        if kind not in best or key > best[kind][0]:
            best[kind] = (key, difference, path)
    for _, difference, path in best.values():
        yield difference, path


def _series(paths: Sequence[str]) -> dict[str, object]:
    """Which series each file is of: pictures, masks, coloured masks of one folder are three."""
    tails = [_tail_words(_stem(path)) for path in paths]
    heads = [_head_words(_stem(path)) for path in paths]
    folders = [folder_of(path).rsplit("/", 1)[-1] for path in paths]
    parts = (tails, heads, folders, _repeated_words(paths))
    telling = [part for part in parts if len(set(part)) <= _MOST_SERIES]
    return {
        path: (extension(path), *(part[at] for part in telling)) for at, path in enumerate(paths)
    }


def _repeated_words(paths: Sequence[str]) -> list[str]:
    """The last word of each name, where most samples have the same few: `t1` and `t2`, or `0000`.

    >>> _repeated_words(["a_t1", "a_t2", "b_t1", "b_t2"]), _repeated_words(["x_1", "x_2"])
    (['t1', 't2', 't1', 't2'], ['', ''])
    """
    named = [re.split(r"[_\-. ](?=[^_\-. ]*$)", _stem(path)) for path in paths]
    words: dict[str, set[str]] = defaultdict(set)
    for front, *word in named:
        words[word[0] if word else ""].add(front)
    fronts = {front for front, *word in named if word}
    often = {word for word, of in words.items() if word and 2 * len(of) > len(fronts) > 1}
    return [word[0] if word and word[0] in often else "" for _, *word in named]


def _tail_words(stem: str) -> str:
    """The last words of a name that are no numbers.

    >>> _tail_words("frame_80_endo_mask"), _tail_words("aachen_01_leftImg8bit"), _tail_words("7")
    ('endo_mask', 'leftImg8bit', '')
    >>> _tail_words("benign (1)_mask")
    'mask'
    """
    words = re.split(r"[_\-. ]", stem)
    kept = len(words)
    while kept and not re.fullmatch(_NUMBER_WORD, words[kept - 1]):
        kept -= 1
    return "_".join(words[kept:])


def _head_words(stem: str) -> str:
    """The first words of a name that are no numbers.

    >>> _head_words("segmentation-10"), _head_words("frame_80_endo_mask"), _head_words("7")
    ('segmentation', 'frame', '')
    """
    words = re.split(r"[_\-. ]", stem)
    numbers = (at for at, word in enumerate(words) if re.fullmatch(_NUMBER_WORD, word))
    return "_".join(words[: next(numbers, len(words))])


def _difference(media: str, label: str) -> _Difference | None:
    own, other = folder_of(media).split("/"), folder_of(label).split("/")
    own, other = [p for p in own if p], [p for p in other if p]
    front = _num_equal(own, other)
    back = _num_equal(own[front:][::-1], other[front:][::-1])
    folders = (
        tuple(own[front : len(own) - back]),
        tuple(other[front : len(other) - back]),
    )
    stems = _stem(media), _stem(label)
    ends = extension(media), extension(label)
    if folders == ((), ()) and stems[0] == stems[1]:
        return _Difference(len(own), folders, back, ("", ""), "suffix", ends)
    start, end = _shared(*stems)
    if start + end == 0 or not any(c.isalnum() for c in stems[0][:start] + _tail(stems[0], end)):
        # Nothing shared: only of use where a folder holds one of each.
        if folders != ((), ()) or not own:
            return None
        return _Difference(len(own), folders, back, ("", stems[1]), "whole", ends)
    rest = tuple(stem[start : len(stem) - end] for stem in stems)
    where = "suffix" if end == 0 else "prefix" if start == 0 else "middle"
    if where == "middle" and not rest[0]:
        return None
    if all(part.isdigit() for part in rest):  # another number is another sample
        return None
    return _Difference(len(own), folders, back, (rest[0], rest[1]), where, ends)


def _num_equal(first: Sequence[str], other: Sequence[str]) -> int:
    """How many of the first items of two sequences are equal."""
    pairs = enumerate(zip(first, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(other)))


def _tail(stem: str, num: int) -> str:
    return stem[len(stem) - num :]


def _shared(first: str, other: str) -> tuple[int, int]:
    """How much of the front and of the end two stems share, cut back to whole words."""
    front = _num_equal(first, other)
    if front == len(first) or front == len(other):
        front = (
            front if _ends_word(first, front) and _ends_word(other, front) else _cut(first, front)
        )
        back = 0 if front in (len(first), len(other)) else _back(first[front:], other[front:])
        return front, back
    front = _cut(first, front)
    return front, _back(first[front:], other[front:])


def _ends_word(stem: str, at: int) -> bool:
    return at == len(stem) or bool(_BOUNDARY.match(stem, at)) or stem[at - 1] in "_-. "


def _cut(stem: str, at: int) -> int:
    """The last boundary of words at or before a place."""
    found = [0, *(m.end() for m in _BOUNDARY.finditer(stem)), *([len(stem)] if stem else [])]
    return max(place for place in found if place <= at)


def _back(first: str, other: str) -> int:
    back = _num_equal(first[::-1], other[::-1])
    places = [m.start() for m in _BOUNDARY.finditer(first)]
    fitting = [len(first) - place for place in [0, *places] if len(first) - place <= back]
    return max(fitting, default=0)


def _stem(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return name[: len(name) - len(extension(path))]


def _rule(difference: _Difference, pairs: Sequence[tuple[str, str]]) -> PairRule:
    folders, left_out = folder_pattern([folder_of(path) for path, _ in pairs])
    num_literal = next((i for i, part in enumerate(folders) if part == "*"), len(folders))
    at = len(folders) - difference.behind - len(difference.folders[0])  # where they differ
    uri = "/".join([*filter(None, folders), _name_pattern(difference, pairs)])
    is_same_folder = difference.folders == ((), ())
    if is_same_folder or at + len(difference.folders[0]) <= num_literal:
        behind = folders[at + len(difference.folders[0]) : num_literal]
        base = [*folders[:at], *difference.folders[1], *behind]
        base = folders[:num_literal] if is_same_folder else base
        named, match = _by_field(difference, num_literal < len(folders)), None
        if named is None:
            named, match = _by_group(_name_pieces(difference, num_literal < len(folders)))
    else:  # the difference lies where folders vary
        base = folders[:num_literal]
        own = "".join(f"{re.escape(folder)}/" for folder in difference.folders[0])
        pieces = [("(.*/)", "{}")] if at > num_literal else []
        pieces.append((own, "".join(f"{folder}/" for folder in difference.folders[1])))
        pieces += _name_pieces(difference, difference.behind > 0)
        named, match = _by_group(pieces)
    end, own_end = ending(pairs[0][1]), ending(pairs[0][0])
    template = "/".join([*filter(None, base), f"{named}{end}"])
    match = None if match is None else f"{match}{re.escape(own_end)}$"
    return PairRule(uri, template, match, tuple(pairs), _said(difference), left_out)


def _by_field(difference: _Difference, is_deep: bool) -> str | None:
    """The name by the fields of a template, where they do; `is_deep`: folders vary above it."""
    theirs = difference.stems[1]
    if difference.stems[0]:
        return None
    if difference.where == "suffix":
        return f"{{path}}{theirs}" if is_deep else f"{{stem}}{theirs}"
    above = "{folder}/" if is_deep else ""
    return f"{above}{theirs}" if difference.where == "whole" else f"{above}{theirs}{{stem}}"


def _name_pieces(difference: _Difference, is_deep: bool) -> list[tuple[str, str]]:
    """Regular expressions of the name, folders above it with it, and what becomes of them."""
    own, theirs = re.escape(difference.stems[0]), difference.stems[1]
    if difference.where == "suffix":
        return [(f"(.*){own}", f"{{}}{theirs}")]
    above = [("(.*/)", "{}")] if is_deep else []
    if difference.where == "prefix":
        return [*above, (f"{own}([^/]*)", f"{theirs}{{}}")]
    if difference.where == "middle":
        return [*above, (f"([^/]*?){own}([^/]*)", f"{{}}{theirs}{{}}")]
    return [*above, ("[^/]*", theirs)]


def _by_group(pieces: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """A template by the groups of a regular expression, and that expression."""
    template = "".join(piece for _, piece in pieces)
    numbers = (f"{{{number}}}" for number in range(1, template.count("{}") + 1))
    return re.sub(r"\{\}", lambda _: next(numbers), template), f"^{''.join(p for p, _ in pieces)}"


def _said(difference: _Difference) -> str:
    folders, theirs = difference.folders[1], difference.stems[1]
    words = [f"in {'/'.join(folders)}/"] if folders else []
    words += [f"with {theirs!r} in the name"] if theirs else []
    return " and ".join(words) or f"with the extension {difference.extensions[1]}"


def folder_pattern(folders: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Folders as one pattern, part by part; of parts of a dataset the one for training."""
    columns = list(zip(*(folder.split("/") for folder in folders), strict=True))
    parts, left_out = [], tuple[str, ...]()
    for column in columns:
        names = sorted(set(column))
        if len(names) == 1:
            parts.append(names[0])
        elif set(_own_words(names)) <= _SPLITS and names[-1].lower() != names[0].lower():
            own = dict(zip(names, _own_words(names), strict=True))
            train = [name for name in names if own[name].startswith("train")] or names[:1]
            parts.append(train[0])
            left_out = tuple(name for name in names if name != train[0])
        else:
            parts.append("*")
    return parts, left_out


def _own_words(names: Sequence[str]) -> list[str]:
    """What names of folders do not share, in lower case.

    >>> _own_words(["cars_test", "cars_train"]), _own_words(["train", "val"])
    (['test', 'train'], ['train', 'val'])
    """
    words = [re.split(r"[_\-. ]", name.lower()) for name in names]
    front = min(_num_equal(words[0], other) for other in words)
    back = min(_num_equal(words[0][front:][::-1], other[front:][::-1]) for other in words)
    return ["_".join(own[front : len(own) - back]) for own in words]


def _name_pattern(difference: _Difference, pairs: Sequence[tuple[str, str]]) -> str:
    """A pattern of the media files' names that no label file fits."""
    stems = sorted({_stem(path) for path, _ in pairs})
    end = ending(pairs[0][0])
    x = difference.stems[0]
    if x:
        return {"suffix": f"*{x}", "prefix": f"{x}*", "middle": f"*{x}*"}[difference.where] + end
    if len(stems) == 1 and len(pairs) > 1:
        return f"{stems[0]}{end}"
    if difference.folders != ((), ()) or difference.extensions[0] != difference.extensions[1]:
        return f"*{end}"
    others = [_stem(label) for _, label in pairs]
    if difference.where == "prefix":
        firsts, theirs = {s[0] for s in stems}, {s[0] for s in others}
        return f"{_apart(firsts, theirs)}*{end}"
    return f"*{_apart({s[-1] for s in stems}, {s[-1] for s in others})}{end}"


def _apart(own: set[str], other: set[str]) -> str:
    """A class of characters that tells two sets of names apart; empty where none does."""
    if own & other:
        return ""
    if all(c.isdigit() for c in own) and not any(c.isdigit() for c in other):
        return "[0-9]"
    return f"[!{''.join(sorted(other))}]"
