"""Which checkpoints a rule of masks asks again, and for which classes."""

from ray_audit import storage
from ray_audit.checkpoints.catalog import list_checkpoints
from ray_audit.corrections.options import CorrectionOptions
from ray_audit.errors import CheckpointError, SpecificationError
from ray_audit.tables.run_tables import RunTables


def later_half(checkpoints: list[dict[str, str]]) -> list[dict[str, str]]:
    """All but the first ceil(E / 2); the only one where there is one."""
    return checkpoints[(len(checkpoints) + 1) // 2 :] or checkpoints


def adele_steps(
    options: CorrectionOptions, tables: RunTables, background: int
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[int, ...], ...]]:
    """Checkpoints at which a class is past its onset, and the classes of each, in order."""
    if not tables.task.is_dense:
        raise SpecificationError("--rule adele corrects masks; use findings, flagged or decisions")
    names = tables.config.dataset.classes
    foreground = [name for index, name in enumerate(names) if index != background]
    chosen = list(options.classes or foreground)
    unknown = [name for name in chosen if name not in foreground]
    if unknown:
        raise SpecificationError(
            f"--class {', '.join(unknown)}: expected some of "
            f"{', '.join(foreground)} ({names[background]} is the background, which every "
            "correction may write)"
        )
    rows = tables.whole("class_stats").to_pylist()
    onsets = {row["class"]: (row["onset_epoch"], row["onset_reason"]) for row in rows}
    missing = {name: onsets.get(name, (None, "not in the run")) for name in chosen}
    refused = {name: reason for name, (epoch, reason) in missing.items() if epoch is None}
    if refused:
        trusted = [name for name in foreground if onsets.get(name, (None,))[0] is not None]
        can = f"--class {','.join(trusted)} could be corrected" if trusted else "no class can be"
        why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise SpecificationError(f"--rule adele: the onset is not to be trusted ({why}); {can}")
    by_epoch: dict[int, list[int]] = {}
    for name in chosen:
        by_epoch.setdefault(onsets[name][0], []).append(names.index(name))
    uris = [checkpoint["uri"] for checkpoint in tables.manifest.checkpoints]
    epochs = sorted(by_epoch)
    return tuple((uris[epoch - 1],) for epoch in epochs), tuple(tuple(by_epoch[e]) for e in epochs)


def check_checkpoints(tables: RunTables, steps: tuple[tuple[str, ...], ...]) -> None:
    """Make sure that the checkpoints of the steps are those of the run.

    Raises:
        CheckpointError: one has gone, or is another one now.
    """
    needed = {uri for uris in steps for uri in uris}
    for checkpoint in tables.manifest.checkpoints:
        if checkpoint["uri"] not in needed:
            continue
        if not storage.exists(checkpoint["uri"]):
            raise CheckpointError(
                f"checkpoint {checkpoint['uri']} is needed and has been deleted since the run; "
                "correct with --rule decisions, or restore it"
            )
        if (
            list_checkpoints([storage.escape_glob(checkpoint["uri"])])[0].digest
            != checkpoint["digest"]
        ):
            raise CheckpointError(f"checkpoint {checkpoint['uri']} is not the one that was audited")


def check_no_folds(tables: RunTables) -> None:
    """Refuse a run of folds, whose checkpoints have not seen the same samples.

    Raises:
        SpecificationError: it is one.
    """
    if tables.num_folds:
        raise SpecificationError(
            f"each of the {tables.num_folds} folds of this run has checkpoints of its own: correct "
            "masks by --rule decisions, or by the runs of the folds (the folders fold_0, fold_1, "
            "... in its output)"
        )
