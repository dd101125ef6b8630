"""Whole audits on a GPU: the CPU's scores but for rounding, and one table however it is shared."""

import numpy as np
import pytest

from ray_audit.engine.run.audit import run_audit
from tests.gpu.test_probes import TOLERANCE
from tests.support import small_sets
from tests.support.tables import assert_identical

PACKED = {"checkpoints_per_actor": 3, "actors_per_pool": 1, "num_gpus": 1.0}
HALVES = {"checkpoints_per_actor": 3, "actors_per_pool": 2, "num_gpus": 0.5}
FRACTIONS = {"checkpoints_per_actor": 1, "actors_per_pool": 1, "num_gpus": 0.25}
SHARES = {
    "class_folders": (PACKED, HALVES, FRACTIONS),
    "masked_images": (FRACTIONS,),
    "labelled_videos": (HALVES,),
    "feature_sequences": (FRACTIONS,),
}


@pytest.fixture(scope="module")
def cluster():
    """A Ray of this machine, with its GPU."""
    import ray

    ray.init(include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def audit(small, name, local, **engine):
    output = str(small.folder / f"out-{name}")
    return run_audit(small.config(output=output, engine=engine), local=local)


@pytest.mark.parametrize("maker", SHARES)
def test_tables_of_a_gpu_are_the_cpus_but_for_rounding_however_it_is_shared(
    cuda, cluster, maker, tmp_path
):
    small = getattr(small_sets, maker)(tmp_path)
    on_cpu = audit(small, "cpu", local=True, num_gpus=0)
    on_gpu = audit(small, "gpu", local=True)
    assert (on_cpu.manifest.plan["gpus_per_actor"], on_gpu.manifest.plan["gpus_per_actor"]) == (
        0,
        1,
    )
    assert on_gpu.manifest.numeric["batch_bytes"] > 4 * 2**20
    for index, share in enumerate(SHARES[maker]):
        assert_identical(audit(small, f"ray-{index}", local=False, **share), on_gpu)
    assert on_gpu.counts == on_cpu.counts
    assert on_gpu.counts["scored"] > 0
    for column in ("csl", "vog"):
        actual, expected = (
            o.manifest.table(o.run_uri, "scores").sort_by("sample_id")[column].to_numpy()
            for o in (on_gpu, on_cpu)
        )
        largest = np.nanmax(np.abs(expected))
        assert largest > 0
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE["float32"] * largest)
