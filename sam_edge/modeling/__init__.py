"""The SAM family in PyTorch, one part a file; the only core folder that imports torch."""
