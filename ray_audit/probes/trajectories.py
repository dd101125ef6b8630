"""Names of what is kept of each checkpoint; without torch, for those who only read records."""

TRAJECTORIES = (
    "loss",
    "p_label",
    "margin",
    "prob_margin",
    "el2n",
    "correct",
    "predicted",
    "other",
    "grad_sqnorm",
    "confusion",
    "void_class",
    "void_sum",
    "probe_s",
)
"""Observations kept for each checkpoint; all others describe the last one or are running sums."""

RAGGED = frozenset({"final/components", "final/regions", "final/region_runs", "void/index"})
"""Observations with any number of rows a mask: the mask's place in the batch comes first."""

MOST_REGIONS = 32
"""Candidate regions of one mask."""

REGION_COLUMNS = (
    "given",
    "suggested",
    "component",
    "num_px",
    "loss",
    "p_given",
    "p_suggested",
    "outline_px",
    "contact_px",
    "num_runs",
)
"""A row of `final/regions` after the number of its mask; loss and p are sums over its pixels."""
