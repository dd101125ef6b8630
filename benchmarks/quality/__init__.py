"""How well each score finds label errors, measured with the engine itself.

    python -m benchmarks.quality [--only camvid,golf_poses-tcn-training] [--seeds 0,1]

A recipe names a dataset with known errors, a training and a protocol. The engine audits what the
recipe trained; every directed score, and rivals from cleanlab, is held against the truth.
"""
