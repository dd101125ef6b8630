"""What runs the stages of a plan: one process, or Ray. `base` says what each must promise."""
