"""Checkpoints of a training run: listed in order, digested, loaded without running their code."""
