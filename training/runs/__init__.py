"""A training run: schedule, checkpoints, curves, and what it watches."""
