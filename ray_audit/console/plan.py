"""What a run would do, as a table."""

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from ray_audit.console.layouts import expansion_of, expansion_rows
from ray_audit.console.lines import human_bytes, human_s
from ray_audit.engine.planning.plan import Plan

_NUM_NAMED = 12


def plan_table(plan: Plan) -> Table:
    """The plan as two columns: what, and how much."""
    inputs, layout = plan.inputs, plan.layout
    table = Table(title=f"Plan of {inputs.run_id}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")  # a path that is cut off cannot be checked
    names = [checkpoint.name for checkpoint in inputs.checkpoints]
    num_labelled = sum(bool(shard.label_digest) for shard in inputs.listing.shards)
    table.add_row(
        "shards",
        f"{len(inputs.listing.shards)}, {num_labelled} with labels, in {len(inputs.units)} work "
        "unit(s)",
    )
    table.add_row("checkpoints", f"{len(names)}: {names[0]} … {names[-1]}")
    table.add_row("protocol", inputs.config.protocol)
    table.add_row("to run", f"{plan.num_new} unit-checkpoint pairs")
    table.add_row("reused", f"{plan.num_reused} unit-checkpoint pairs")
    for title, text in expansion_rows(inputs.config.dataset):
        table.add_row(title, Text(text))  # its brackets are no markup
    for title, text in seen_rows(plan):
        table.add_row(title, text)
    for note in identity_notes(plan):
        table.add_row("identity", note)
    for note in vog_notes(plan):
        table.add_row("VoG", note)
    if layout is None:
        table.add_row("relay", "nothing to run: tables are made from committed records")
        return table
    table.add_row(
        "relay",
        f"{len(layout.hops)} hop(s), {len(layout.hops[0])} checkpoint(s) per actor, "
        f"{layout.actors_per_pool} actor(s) per pool",
    )
    gpus = f", {layout.gpus_per_actor:g} GPU" if layout.gpus_per_actor else ""
    table.add_row("each actor", f"{layout.cpus_per_actor:g} CPU{gpus}")
    table.add_row("decoders", f"{layout.num_decoders} of {layout.cpus_per_decoder:g} CPU")
    table.add_row("bytes to read", human_bytes(plan.bytes_to_read))
    table.add_row("crates", f"of up to {human_bytes(plan.crate_bytes)}, or of one batch")
    table.add_row("crates under way", f"up to {human_bytes(plan.in_flight_bytes)} of object store")
    models = layout.num_actors * len(layout.hops[0]) * inputs.checkpoints[0].size_bytes
    table.add_row("weights in memory", human_bytes(models))
    duration = plan.expected_s
    table.add_row("duration", "unknown" if duration is None else f"about {human_s(duration)}")
    for index, reason in enumerate(layout.reasons):
        table.add_row("why" if index == 0 else "", reason)
    return table


def seen_rows(plan: Plan) -> list[tuple[str, str]]:
    """What a look at a few samples has shown."""
    seen = plan.seen
    if seen is None:
        return []
    rows = []
    if seen.input_shapes:
        low, high = seen.input_range
        shapes = " and ".join(map(str, seen.input_shapes))
        rows.append(("first input", f"{shapes}, {low:.4g} to {high:.4g}"))
    if seen.labels:
        total, items = sum(seen.labels.values()), sorted(seen.labels.items(), key=lambda o: -o[1])
        shares = ", ".join(f"{name} {num / total:.1%}" for name, num in items[:_NUM_NAMED])
        more = f" and {len(items) - _NUM_NAMED} more" if len(items) > _NUM_NAMED else ""
        rows.append((f"labels of {seen.labels_of}", f"{shares}{more}"))
    for answer in seen.answers:
        low, high = answer.range
        text = f"{answer.shape}, {low:.4g} to {high:.4g} at {answer.checkpoint}"
        rows.append(("answer", text))
    return rows + [("note", note) for note in seen.notes]


def identity_notes(plan: Plan) -> list[str]:
    """By what shards are told apart, where a change could go unnoticed."""
    num = plan.inputs.listing.num_by_time
    if not num:
        return []
    return [
        f"{num} local file(s) of more than 1 MiB, and label files as large, are told apart by size "
        "and time of change alone: what is replaced under the same of both goes unnoticed"
    ]


def vog_notes(plan: Plan) -> list[str]:
    """What VoG costs: passes back, pairs that run again for it, and moments that are kept."""
    notes = []
    required = plan.inputs.required
    if plan.work and required.vog is not None and plan.inputs.config.vog.at == "inputs":
        notes.append(
            f"vog: a pass back through the network at {len(required.window)} of "
            f"{len(required.checkpoints)} checkpoints, about twice a forward pass each "
            "(vog.at: features needs none)"
        )
    keeps = plan.inputs.required.keep_moments
    if plan.num_again and plan.inputs.required.vog is not None:
        notes.append(
            f"{plan.num_again} committed unit-checkpoint pairs run again: its spread is taken over "
            "all checkpoints, and no moments are kept that the new ones continue"
            + ("" if keeps else " (vog.keep_moments: true keeps them from now on)")
        )
    continued = sum(work.kept is not None for work in plan.work)
    if continued:
        notes.append(f"{continued} work unit(s) continue kept moments")
    if plan.work and keeps and plan.inputs.required.vog is not None:
        size = plan.moments_bytes
        about = "of unknown size" if size is None else f"of about {human_bytes(size)}"
        notes.append(f"moments {about} are kept, 8 bytes a pixel a sample")
    return notes


def described(plan: Plan) -> dict[str, Any]:
    """The plan for programs."""
    inputs, layout = plan.inputs, plan.layout
    values: dict[str, Any] = {
        "run_id": inputs.run_id,
        "num_shards": len(inputs.listing.shards),
        "num_units": len(inputs.units),
        "checkpoints": [checkpoint.name for checkpoint in inputs.checkpoints],
        "num_new": plan.num_new,
        "num_reused": plan.num_reused,
        "bytes_to_read": plan.bytes_to_read,
        "num_slices": plan.num_slices,
        "num_lead_in": plan.num_lead_in,
        "expected_s": plan.expected_s,
        "num_again": plan.num_again,
        "moments_bytes": plan.moments_bytes if inputs.required.keep_moments else 0,
        "notes": [*inputs.listing.notes, *(plan.seen.notes if plan.seen else ())],
        "seen": None if plan.seen is None else asdict(plan.seen),
        "num_by_time": inputs.listing.num_by_time,
    }
    expansion = expansion_of(inputs.config.dataset)
    if expansion is not None:
        values["recipe"] = expansion
    if layout is not None:
        values["layout"] = {
            "hops": [list(hop) for hop in layout.hops],
            "actors_per_pool": layout.actors_per_pool,
            "in_flight_per_actor": layout.in_flight_per_actor,
            "cpus_per_actor": layout.cpus_per_actor,
            "gpus_per_actor": layout.gpus_per_actor,
            "num_decoders": layout.num_decoders,
            "cpus_per_decoder": layout.cpus_per_decoder,
            "crate_bytes": plan.crate_bytes,
            "in_flight_bytes": plan.in_flight_bytes,
            "reasons": list(layout.reasons),
        }
    return values
