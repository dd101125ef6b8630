"""`python -m ray_audit` is `ray-audit`."""

from ray_audit.cli import run

if __name__ == "__main__":
    run()
