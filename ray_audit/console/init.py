"""A drafted specification, as a person sees it."""

from rich.markup import escape

from ray_audit.console.lines import LINE, SafeConsole
from ray_audit.discovery import Drafted


def print_draft(draft: Drafted) -> None:
    """What was recognised, assumed and not known, on standard error; the draft on standard output.

    A draft that was written to a file is not printed.
    """
    console = SafeConsole(stderr=True)
    known = f" (layout {draft.layout})" if draft.layout else ""
    console.print(f"[bold]{escape(draft.what)}[/]{known}", **LINE)
    for title, items in (
        ("assumed", draft.assumed),
        ("please say", draft.asked),
        ("fits, too", draft.also),
    ):
        for item in items:
            console.print(f"[yellow]{title}[/] {escape(item)}", **LINE)
    if draft.uri is None:
        SafeConsole().print(draft.text, markup=False, end="", **LINE)
    else:
        console.print(f"{escape(draft.uri)}: next, ray-audit plan {escape(draft.uri)}", **LINE)
