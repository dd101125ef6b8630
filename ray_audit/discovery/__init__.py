"""Looks at data that nobody has described yet, and drafts a specification for it."""

from ray_audit.discovery.discover import discover, save
from ray_audit.discovery.drafted import Drafted

__all__ = ["Drafted", "discover", "save"]
