"""Frames and images: layouts, resizing, reading, COCO run lengths."""
