"""One writer a label format: each copies labels to a new place and changes only what it is told."""
