"""Latency, memory and overhead of engines on this machine."""
