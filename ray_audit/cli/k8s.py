"""Commands that write files for other systems."""

from pathlib import Path
from typing import Annotated

import typer

from ray_audit.cli.ending import ending
from ray_audit.cli.options import AsJson, Set, Spec, Verbose
from ray_audit.config import AuditConfig

app = typer.Typer(help="Write files for other systems.", no_args_is_help=True)


@app.command()
def k8s(
    spec: Spec,
    to: Annotated[Path, typer.Option(help="Folder for the manifests.")],
    image: Annotated[str, typer.Option(help="With ray-audit and your model: see k8s/Dockerfile.")],
    gpu_image: Annotated[str | None, typer.Option(help="The same with CUDA.")] = None,
    namespace: Annotated[str, typer.Option()] = "ray-audit",
    schedule: Annotated[str, typer.Option(help="In cron's five fields.")] = "0 2 * * *",
    time_zone: Annotated[str, typer.Option(help="Of schedule and logical date.")] = "Etc/UTC",
    workers: Annotated[int, typer.Option(min=1, help="Most CPU workers.")] = 4,
    gpus: Annotated[int, typer.Option(min=0, help="Most GPU workers.")] = 0,
    secret: Annotated[
        str | None, typer.Option(help="A Secret with credentials as environment variables.")
    ] = None,
    egress: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR[:PORT]",
            help="A store that pods may reach; repeatable. Default: every address at 443.",
        ),
    ] = None,
    api_server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR[:PORT]",
            help="Where the API server is; repeatable. Default: every address at 443 and 6443, for "
            "the head and the starter.",
        ),
    ] = None,
    metadata_service: Annotated[
        bool,
        typer.Option(
            "--metadata-service",
            help="Let pods ask the node's metadata service for credentials (GKE, EKS Pod "
            "Identity, EC2).",
        ),
    ] = False,
    set_: Set = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Write the Kubernetes manifests for a specification."""
    with ending(verbose, as_json) as answer:
        config = AuditConfig.load(spec, set_)
        from ray_audit.console.lines import say
        from ray_audit.kubernetes.deployment import AddressBlock, Deployment
        from ray_audit.kubernetes.render import render, write

        deployment = Deployment(
            image,
            gpu_image,
            namespace,
            schedule,
            time_zone,
            workers,
            gpus,
            secret,
            egress=tuple(AddressBlock.parse(text) for text in egress or ()),
            api_server=tuple(AddressBlock.parse(text) for text in api_server or ()),
            metadata_service=metadata_service,
        )
        written = [str(path) for path in write(render(config, deployment), to)]
        answer({"files": written})
        if not as_json:
            say(f"{len(written)} files below {to}. Then:")
            say(f"  kubectl create namespace {namespace}")
            for folder in ("base", "nightly-cronjob"):
                say(f"  kubectl -n {namespace} apply --server-side -k {to}/{folder}")
