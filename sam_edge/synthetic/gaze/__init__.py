"""Simulated gaze and clicks."""
