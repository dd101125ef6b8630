"""From findings to corrected labels: rules that decide, and writers that write a copy."""
