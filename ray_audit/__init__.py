"""Finds and corrects wrong labels in video and image datasets, on Ray.

Importing this package starts nothing and imports neither ray nor torch.
"""

from ray_audit.config import AuditConfig
from ray_audit.errors import RayAuditError

__all__ = ["AuditConfig", "RayAuditError", "__version__"]

__version__ = "0.1.0"
