"""What one checkpoint says of one batch: losses, likelihoods, margins and input gradients."""
