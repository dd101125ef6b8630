"""Kubernetes manifests for a specification."""
