"""A generated scene and the gaze of who sees it, with the truth about both."""
