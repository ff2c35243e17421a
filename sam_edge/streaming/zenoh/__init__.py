"""What the Zenoh source, gaze source, prompts and sink share: addresses, sessions and messages."""
