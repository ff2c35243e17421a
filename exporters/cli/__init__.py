"""The commands that write and check model folders."""
