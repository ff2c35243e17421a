"""Gaze recordings: one file a format."""
