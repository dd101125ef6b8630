"""Scores as pure numerics on numpy arrays: no engine, no device, no storage.

A statistic that is streamed comes as functions: a batch to a partial state, partial states to one,
a state to its value. States are plain arrays of integers or float64, so they are sent
exactly, and folding them in one fixed order gives one fixed result.

It is a library of its own, for notebooks, and the oracle that the engine is held to: what the
device computes (`ray_audit.probes`) is the same in another way. docs/library.md shows it in use.

Shape suffixes: N samples, T frames, E checkpoints, K classes, H height, W width, B bins, M any
number of elements. A negative label means "not labelled". What cannot be computed is NaN (null in
a table), never 0.
"""
