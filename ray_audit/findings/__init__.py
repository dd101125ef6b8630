"""From tables of scores to findings: what a person should look at, why, and what it might be."""
