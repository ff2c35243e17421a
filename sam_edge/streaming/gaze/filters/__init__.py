"""From raw gaze to what deserves a mask: blinks, saccades, fixations, smoothing."""
