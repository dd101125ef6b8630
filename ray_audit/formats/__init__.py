"""Stored formats: list what is in a file, read it, and write corrected labels back."""

from ray_audit.formats.base import BrokenOffError, Format, Item

__all__ = ["BrokenOffError", "Format", "Item"]
