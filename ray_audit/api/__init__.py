"""The verbs of `import ray_audit`, and a run as they return it; each loads what it needs."""
