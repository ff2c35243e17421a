"""Live runs that are recorded as they happen, and repeated bit for bit."""
