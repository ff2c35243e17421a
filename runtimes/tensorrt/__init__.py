"""TensorRT on NVIDIA GPUs: plans are built, kept and run here."""
