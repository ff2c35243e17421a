"""Atomic files and caches."""
