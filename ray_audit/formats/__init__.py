"""Stored formats: list what is in a file, read it, and write corrected labels back."""
