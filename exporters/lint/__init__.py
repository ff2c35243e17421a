"""Rules a graph must keep for TensorRT to build it."""
