"""Benchmarks: each checks the answer, warms up, repeats, and prints ratios with their spread."""
