"""Eye trackers that run now: one file a protocol."""
