"""Findings as documents for the tools that people review with."""
