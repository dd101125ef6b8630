"""Tiny packages of measures, installed into a folder as pip would leave them."""

NAMES = {
    "score": """
        from ray_audit.measures import score

        def spread(loss):
            return loss.max(axis=1) - loss.min(axis=1)

        SPREAD = score("loss_range", spread, "largest less least loss", "loss", "nat", "higher")
    """,
    "quantity": """
        import numpy as np
        from ray_audit.measures import Family, Quantity, score

        def sharpness(p, labels):
            return p.square().sum(dim=1)

        def mean(sharpness):
            return sharpness.mean(axis=1)

        FAMILY = Family(
            "Sharpness",
            (Quantity("sharpness", "sum of p squared", observe="PACKAGE:sharpness"),),
            (score("mean_sharpness", mean, "mean sharpness of p", "sharpness", "1", "lower"),),
        )
    """,
    "dataset": """
        from ray_audit.measures import DatasetQuantity, Family, score

        def counted(csl, scored):
            return int(scored.sum()), float(csl[scored].sum())

        def added(one, other):
            return one[0] + other[0], one[1] + other[1]

        def mean(state):
            return state[1] / state[0]

        def above(csl, mean):
            return csl - mean

        needs = ("score.csl", "sample.scored")
        FAMILY = Family(
            "Beside the mean",
            (),
            (score("csl_above_mean", above, "x", "score.csl dataset.mean_csl", "nat", "higher"),),
            (
                DatasetQuantity(
                    "mean_csl", "count and sum of csl", needs, counted, added, finish=mean
                ),
            ),
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
