"""Graphs with the signatures of other tools' SAM exports."""
