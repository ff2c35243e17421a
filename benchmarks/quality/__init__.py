"""Mask quality on labelled images and videos."""
