"""The live stream on its way to clients, and their gaze on its way in."""
