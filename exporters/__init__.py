"""From PyTorch checkpoints to model folders."""
