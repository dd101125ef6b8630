"""What a specification does not say and a cluster must know."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from ray_audit.errors import SpecificationError
from ray_audit.kubernetes.object_names import DNS_LABEL
from ray_audit.kubernetes.schedule import check_schedule, check_time_zone

_BLOCK = re.compile(r"([0-9a-fA-F.:]+/\d{1,3})(?::(\d{1,5}))?", re.ASCII)
_HTTPS = 443
_PART = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(\w[\w.-]*(:\d{{1,5}})?/)?{_PART}(/{_PART})*)"
    r"(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_MAX_IMAGE_NAME = 255
_MAX_WORKERS = 100_000
_DNS_SUBDOMAIN = re.compile(rf"{DNS_LABEL.pattern}(\.{DNS_LABEL.pattern})*")


@dataclass(frozen=True)
class AddressBlock:
    """Where pods may connect to.

    Attributes:
        cidr: addresses, e.g. `10.0.0.0/16`.
        port: of TCP.
    """

    cidr: str
    port: int = _HTTPS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `CIDR[:PORT]`.

        >>> AddressBlock.parse("10.1.0.0/16:9000")
        AddressBlock(cidr='10.1.0.0/16', port=9000)
        """
        found = _BLOCK.fullmatch(text)
        try:
            if found is None:
                raise ValueError("no such form")
            network = ipaddress.ip_network(found[1])
            port = int(found[2] or _HTTPS)
            if not 0 < port < 2**16:
                raise ValueError(f"port {port}")
        except ValueError as error:
            raise SpecificationError(
                f"{text!r}: expected addresses and a port, such as 10.1.0.0/16:9000 ({error})"
            ) from error
        return cls(str(network), port)


@dataclass(frozen=True)
class Deployment:
    """What a specification does not say and a cluster must know.

    Attributes:
        image: with ray_audit, the model's code, and the Ray of `ray_version`; by tag or by digest.
        gpu_image: the same with CUDA; default: `image`.
        namespace: where it runs.
        schedule: of the nights, in cron's five fields.
        time_zone: of the schedule and of the logical date.
        workers: most CPU workers.
        gpus: most GPU workers, of one GPU each; 0 leaves their group out.
        secret: a Secret whose keys become environment variables, e.g. AWS_ACCESS_KEY_ID.
        ray_version: of the image.
        egress: stores that pods may reach; none: every address at port 443.
        api_server: where the API server is; none: every address at ports 443 and 6443, for the
            head and the starter alone.
        metadata_service: whether pods may ask the node's metadata service for credentials.

    Raises:
        SpecificationError: what cannot stand in a manifest.
    """

    image: str
    gpu_image: str | None = None
    namespace: str = "ray-audit"
    schedule: str = "0 2 * * *"
    time_zone: str = "Etc/UTC"
    workers: int = 4
    gpus: int = 0
    secret: str | None = None
    ray_version: str = ""
    egress: tuple[AddressBlock, ...] = ()
    api_server: tuple[AddressBlock, ...] = ()
    metadata_service: bool = False

    def __post_init__(self) -> None:
        check_schedule(self.schedule)
        check_time_zone(self.time_zone)
        if not DNS_LABEL.fullmatch(self.namespace):
            raise SpecificationError(
                f"--namespace {self.namespace!r}: expected a-z, 0-9 and -, at most 63 characters"
            )
        if self.secret is not None and not (
            len(self.secret) <= 253 and _DNS_SUBDOMAIN.fullmatch(self.secret)
        ):
            raise SpecificationError(
                f"--secret {self.secret!r}: expected the name of a Secret: a-z, 0-9, - and ."
            )
        for image in (self.image, self.image if self.gpu_image is None else self.gpu_image):
            found = _IMAGE.fullmatch(image)
            if found is None or len(found["name"]) > _MAX_IMAGE_NAME:
                raise SpecificationError(
                    f"image {image[:300]!r}: expected registry/name:tag or "
                    "registry/name@sha256:digest"
                )
        if not (1 <= self.workers <= _MAX_WORKERS and 0 <= self.gpus <= _MAX_WORKERS):
            raise SpecificationError(
                f"--workers {self.workers}, --gpus {self.gpus}: expected 1 to {_MAX_WORKERS:_} and "
                f"0 to {_MAX_WORKERS:_}"
            )
