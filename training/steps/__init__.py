"""One training step: prompts, losses, gradients, the optimiser."""
