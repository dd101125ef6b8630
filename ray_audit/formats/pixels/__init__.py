"""Pixels of image files and masks: bounded, read as they are stored, and written back alike."""
