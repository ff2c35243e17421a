"""CUDA: bindings, device memory, and the letterbox kernel."""
