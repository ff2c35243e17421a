"""Frames and gaze in, masks out, in the order of time."""
