"""How good masks of old pixels are, by their age and the head's speed, and what carrying them gains."""
