"""Image encoders of the SAM family, one file each."""
