"""What this machine does: python -m sam_edge.benchmarks.<name>."""
