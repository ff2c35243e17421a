"""Ranges, sensitivity and the search for the lowest precision that keeps the masks."""
