"""Mask stacks: the masks of a video's frames or of a volume's slices, read and written back."""
