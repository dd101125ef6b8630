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
    "probe_s",
)
"""Observations kept for each checkpoint; all others describe the last one or are running sums."""
