"""How fast and how fresh live streams are."""
