"""Volumes as slices, in every container: images, and the masks that lie beside them."""
