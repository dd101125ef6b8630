"""Reference models, a plain training loop that keeps every epoch, and planted label errors."""
