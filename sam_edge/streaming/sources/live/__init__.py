"""Cameras and streams that run now, one file each."""
