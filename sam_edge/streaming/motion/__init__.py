"""How the camera moved, and carrying prompts and masks along with it."""
