"""Names of the objects: one audit, one name."""

import re

from ray_audit import storage

MAX_LENGTH = 30  # KubeRay allows 47 for a RayJob, whose name adds a date and an attempt's number
_DIGEST_LENGTH = 8
# What the templates put behind an audit's name: `x` and `x starter` would share an account.
SUFFIXES = frozenset(
    ("api", "dashboard", "head", "once", "rayjob", "specification", "start", "starter", "worker")
)
_DIGEST = re.compile(rf"[0-9a-f]{{{_DIGEST_LENGTH}}}")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def kubernetes_name(name: str) -> str:
    """Name of an audit's objects, at most 30 characters.

    A name that Kubernetes takes as it is stays as it is. Any other is shortened and changed, and
    gets a digest of itself, so that no two audits share an object.

    >>> kubernetes_name("phases-nightly"), kubernetes_name("Phases, nightly")
    ('phases-nightly', 'phases-nightly-d46990c6')
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug[:1].isalpha():
        slug = f"audit-{slug}".strip("-")
    last = slug.rpartition("-")[2]
    is_taken = last in SUFFIXES or _DIGEST.fullmatch(last) is not None
    if slug == name and len(slug) <= MAX_LENGTH and not is_taken:
        return slug
    kept = slug[: MAX_LENGTH - _DIGEST_LENGTH - 1].rstrip("-")
    return f"{kept}-{storage.digest(name)[:_DIGEST_LENGTH]}"
