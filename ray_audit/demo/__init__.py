"""Small datasets made by our own code, with planted label errors, and an audit of them."""
