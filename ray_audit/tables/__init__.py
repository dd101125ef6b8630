"""Final tables and the manifest that makes them visible."""
