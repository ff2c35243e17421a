"""FP16 graphs, with islands of nodes that stay in FP32."""
