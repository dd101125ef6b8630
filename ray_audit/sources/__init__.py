"""From a specification to shards with labels, and to work units."""

from ray_audit.formats.labels.index import read_index
from ray_audit.sources.listing import Listing, list_dataset
from ray_audit.sources.units import group_units

__all__ = ["Listing", "group_units", "list_dataset", "read_index"]
