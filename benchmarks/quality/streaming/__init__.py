"""What memory, windows and following gain, on generated scenes and on real videos."""
