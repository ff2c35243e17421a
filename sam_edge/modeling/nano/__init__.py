"""The shipped model: a small convolutional SAM."""
