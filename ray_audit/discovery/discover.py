"""From a folder that nobody described to a draft of its specification."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from ray_audit import storage
from ray_audit.config import DatasetConfig
from ray_audit.config.model import FRAMES_ALONE
from ray_audit.discovery.channel_choice import with_channel
from ray_audit.discovery.coco_documents import coco_proposals
from ray_audit.discovery.containers import container_proposals
from ray_audit.discovery.drafted import FACTORY, Drafted, written
from ray_audit.discovery.fitting import Fit, fits
from ray_audit.discovery.folder_classes import folder_proposals, named_proposals
from ray_audit.discovery.foreign_forms import foreign_form, unread_labels
from ray_audit.discovery.frame_labels import frame_proposals
from ray_audit.discovery.guess import Guess
from ray_audit.discovery.kinds_of_files import kind_of
from ray_audit.discovery.mask_pairs import mask_proposals
from ray_audit.discovery.masks_of_frames import video_mask_proposals
from ray_audit.discovery.open_classes import with_classes
from ray_audit.discovery.ordered_labels import ordered_proposals
from ray_audit.discovery.paired_files import pairs_by_table
from ray_audit.discovery.pixel_window import with_window
from ray_audit.discovery.segment_documents import document_proposals
from ray_audit.discovery.series_folders import series_proposals
from ray_audit.discovery.split_lists import with_split
from ray_audit.discovery.table_labels import table_proposals
from ray_audit.discovery.tree import Tree, extension, look, merged
from ray_audit.discovery.weights_found import WeightsFound, find_weights
from ray_audit.discovery.zip_folders import chained, zip_trees
from ray_audit.errors import RayAuditError, SpecificationError
from ray_audit.formats.labels.given import GivenLabels
from ray_audit.layouts import expanded, recipes
from ray_audit.sources import list_dataset

_NUM_TRIED = 12
_NUM_MASKS = 8
_NUM_ALSO = 3
_CHECKPOINTS = "checkpoints/epoch_*.safetensors"


def discover(
    data: str, labels: str | None = None, checkpoints: str | None = None, model: str | None = None
) -> Drafted:
    """Look at what is there, and draft a specification.

    Args:
        data: folder of a dataset, local or in a store.
        labels: folder of its labels, where they lie elsewhere.
        checkpoints: folder, pattern or file.
        model: `package.module:function`.

    Raises:
        SpecificationError: nothing is there that is known; says what was found.
        StorageError: the store cannot be listed.
    """
    tree = merged(look(data), None if labels is None else look(labels))
    found = [] if checkpoints is None else [find_weights(checkpoints)]
    proposal, layout = _recognised(tree)
    proposal = with_window(with_channel(proposal))
    return _draft(tree, proposal, layout, found[0] if found else None, model)


def _recognised(tree: Tree) -> tuple[Guess, Fit | None]:
    fitting = fits(tree, [recipe for recipe in recipes() if not recipe.is_general])
    for fit in fitting[:_NUM_TRIED]:
        proposal = _of_recipe(tree, fit)
        if proposal is not None and _looked_at(tree, proposal).problem is None:
            rest = [match.recipe for match in fitting if match.recipe is not fit.recipe]
            also = tuple(f"layout {match.name}: {match.title}" for match in rest[:_NUM_ALSO])
            return proposal.with_also(also), fit
    problems, fine = [], list[Guess]()
    is_paired = bool(pairs_by_table(tree))  # of which half are masks, and have no class
    shapes = (p for p in _shapes(tree) if not is_paired or "masks" in p.dataset["labels"])
    for proposal in islice(shapes, _NUM_TRIED):
        looked = _looked_at(tree, proposal)
        if looked.problem is None:
            fine.append(replace(proposal, assumed=(*proposal.assumed, *looked.left_out)))
        else:
            problems.append(f"{proposal.what}: {looked.problem}")
        if len(fine) == 2:
            break
    if not fine:
        raise SpecificationError(_nothing(tree, problems))
    chosen = fine[0].with_also(tuple(_in_short(match) for match in fine[1:]))
    in_part = with_split(tree, chosen)
    is_split = in_part is not None and _looked_at(tree, in_part).problem is None
    return (in_part if in_part is not None and is_split else chosen), None


def _shapes(tree: Tree) -> Iterator[Guess]:
    return chain(
        coco_proposals(tree),
        mask_proposals(tree),
        series_proposals(tree),
        frame_proposals(tree),
        document_proposals(tree),
        video_mask_proposals(tree),
        table_proposals(tree),
        container_proposals(tree),
        folder_proposals(tree),
        (proposal for inner in zip_trees(tree) for proposal in _in_archive(inner)),
        ordered_proposals(tree),
        named_proposals(tree),
    )


def _in_archive(archive: Tree) -> Iterator[Guess]:
    where = archive.uri.rsplit("/", 1)[-1]
    for proposal in _shapes(archive):
        what, also = f"{proposal.what}, in {where}", tuple(map(chained, proposal.also))
        yield replace(proposal, what=what, dataset=chained(proposal.dataset), also=also)


def _in_short(proposal: Guess) -> str:
    labels = proposal.dataset["labels"]
    form, where = next(iter(labels.items()))
    return f"{proposal.what} ({form}: {where})"


def _of_recipe(tree: Tree, fit: Fit) -> Guess | None:
    root = tree.uri.rpartition("/")[0] if fit.root == ".." else tree.at(fit.root)
    given: dict[str, Any] = {"layout": fit.recipe.name, "root": root}
    open_keys = set(fit.recipe.asks)
    assumed = [f"files as {', '.join(fit.recipe.files)}"]
    questions = [f"{key}: {text}" for key, text in fit.recipe.asks.items()]
    if "classes" in open_keys:
        guess = with_classes(tree, fit, root)
        if guess is None:
            return None
        given |= guess.keys
        assumed += guess.assumed
    assumed += [" ".join(fit.recipe.note.split())] if fit.recipe.note else []
    with suppress(ValueError, RayAuditError):
        values = expanded(given).values
        return Guess(fit.recipe.title, values, tuple(assumed), tuple(questions))
    return None


class _Look(NamedTuple):
    """What a look at a proposal's labels has shown: why it cannot be right, or what it leaves."""

    problem: str | None = None
    left_out: tuple[str, ...] = ()


def _looked_at(tree: Tree, proposal: Guess) -> _Look:
    """Read the labels of a proposal, where the tree is whole; of masks a few."""
    try:
        dataset = DatasetConfig.model_validate(proposal.dataset)
        if tree.is_cut:
            return _Look()
        with tempfile.TemporaryDirectory(prefix="ray-audit-") as folder:
            listing = list_dataset(dataset, Path(folder))
            labelled = [shard for shard in listing.shards if shard.label_digest]
            if not labelled:
                return _Look("no file has a label")
            given = GivenLabels(dataset, tuple(labelled), folder)
            if "{" in (dataset.labels.masks or "") or dataset.has_drawn_masks:
                step = max(1, len(labelled) // _NUM_MASKS)
                for owner in given.mask_owners()[::step]:
                    given.mask(owner) if _is_picture(owner.shard_key) else None
    except (RayAuditError, ValueError, OSError) as error:
        return _Look(str(error))
    without = [shard.key for shard in listing.shards if not shard.label_digest]
    num = len(listing.shards)
    return _Look(
        None,
        (f"{len(without)} of {num} files have no label, such as {without[0]}",) if without else (),
    )


def _is_picture(key: str) -> bool:
    return kind_of(key) == "image files"


def _nothing(tree: Tree, problems: list[str]) -> str:
    ends: dict[str, int] = {}
    for path in tree.files:
        ends[extension(path)] = ends.get(extension(path), 0) + 1
    most_common = sorted(ends.items(), key=lambda item: -item[1])[:6]
    found = ", ".join(f"{num} {end or 'without extension'}" for end, num in most_common)
    why = f" What came nearest: {problems[0]}." if problems else ""
    foreign = foreign_form(tree) or (None if problems else unread_labels(tree))
    if foreign is not None:
        why += f" {foreign}."
    return (
        f"{tree.uri}: no layout was recognised in {len(tree.files)} files ({found}).{why} "
        "`ray-audit layouts` lists those that have a name; docs/datasets.md says how to write "
        "others, and --labels names a folder of labels that lies elsewhere"
    )


def _draft(
    tree: Tree,
    proposal: Guess,
    fit: Fit | None,
    weights: WeightsFound | None,
    model: str | None,
) -> Drafted:
    name = re.sub(r"[^\w-]+", "-", tree.uri.rstrip("/").rsplit("/", 1)[-1]).strip("-") or "audit"
    questions = list(proposal.questions)
    factory = model or FACTORY
    if model is None:
        questions.append(
            "model.factory: the function that returns your model; docs/models.md says what it "
            "takes and gives, and names small ones to begin with"
        )
    remarks = {"model": "model.input: what pixels become, as your training had it"}
    alone = FRAMES_ALONE.get(proposal.dataset.get("kind", ""))
    if alone is not None and not {"videos", "masks"} & {*proposal.dataset.get("labels", {})}:
        remarks["model"] += f"; {{layout: {alone}}} where the model looks at single frames"
    if weights is None:
        questions.append(
            "checkpoints: a pattern or a list of the files of one training; where there are "
            "none, `ray-audit train` makes some"
        )
    elif weights.architecture:
        remarks["model"] += f"; config.json beside the checkpoints names {weights.architecture}"
    specification = {
        "name": name,
        "dataset": proposal.dataset,
        "model": {"factory": factory},
        "checkpoints": _CHECKPOINTS if weights is None else weights.uri,
        "output": f"audits/{name}",
    }
    assumed = [*proposal.assumed, *(weights.assumed if weights else ())]
    if tree.is_cut:
        assumed.append("there is more than was looked at: some thousand files")
    heading = f"Drafted by `ray-audit init`: {proposal.what}."
    if fit is not None:
        root = tree.uri.rpartition("/")[0] if fit.root == ".." else tree.at(fit.root)
        heading += f" `dataset: {{layout: {fit.recipe.name}, root: {root}}}` stands for the same."
    text = written(specification, heading, assumed, questions, proposal.also, remarks)
    return Drafted(
        what=proposal.what,
        layout=fit.recipe.name if fit else None,
        specification=specification,
        assumed=tuple(assumed),
        asked=tuple(questions),
        also=proposal.also,
        text=text,
    )


def save(draft: Drafted, uri: str, force: bool) -> Drafted:
    """Write a draft; never over a file that is there, unless asked to.

    Raises:
        SpecificationError: a file is there.
        StorageError: it cannot be written.
    """
    if not force and storage.exists(uri):
        raise SpecificationError(f"{uri} is there already; give another name, or --force")
    storage.write_bytes(uri, draft.text.encode())
    return replace(draft, uri=uri)
