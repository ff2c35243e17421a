"""onnxruntime on CPUs, and on NVIDIA GPUs through its CUDA and TensorRT execution providers."""
