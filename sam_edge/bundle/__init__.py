"""A model folder: its manifest, its hashes, and opening it."""
