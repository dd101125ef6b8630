"""What correcting labels gains: the labels themselves, and models that are trained on them.

    python -m benchmarks.correction [--only camvid,cifar10n/41] [--seeds 0] [--render]

Everything runs through the engine: `train`, `run` and `correct` in one process. Planted errors are
known, so labels before and after are counted; models are judged on held-out data with right labels.
"""
