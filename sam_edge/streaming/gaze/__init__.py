"""Where gaze comes from, one file a source, and which clock it is on."""
