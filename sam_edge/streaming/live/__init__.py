"""Streams that run now: what to do next, and the threads that do it."""
