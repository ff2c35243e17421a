"""Mask decoders of the SAM family: upstream's, and the forms that are exported."""
