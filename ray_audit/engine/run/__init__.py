"""What the verbs call: a whole audit, its dry run, its state."""
