"""Tiny packages of measures, installed into a folder as pip would leave them."""

NAMES = {
    "score": """
        from ray_audit.measures import score

        def spread(loss):
            return loss.max(axis=1) - loss.min(axis=1)

        SPREAD = score("loss_range", spread, "loss", "largest less least loss", "nat", "higher")
    """,
    "quantity": """
        import numpy as np
        from ray_audit.measures import Family, Quantity, score

        def entropy(p, labels):
            return -(p * p.clamp_min(1e-30).log()).sum(dim=1)

        def mean(entropy):
            return entropy.mean(axis=1)

        FAMILY = Family(
            "Entropy",
            (Quantity("entropy", "of p, in nats", observe="PACKAGE:entropy"),),
            (score("mean_entropy", mean, "entropy", "mean entropy of p", "nat", "higher"),),
        )
    """,
}


def install(folder, package, content, points):
    """Write a package and its metadata; `points` are lines such as `name = module:object`."""
    lines = content.strip("\n").replace("PACKAGE", package).splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    folder.mkdir(exist_ok=True)
    (folder / f"{package}.py").write_text("\n".join(line[indent:] for line in lines) + "\n")
    about = folder / f"{package}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    listed = "\n".join(["[ray_audit.measures]", *points])
    (about / "entry_points.txt").write_text(f"{listed}\n")
