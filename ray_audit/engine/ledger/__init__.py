"""What is committed: records of samples by unit and set, and marks of work under way."""
