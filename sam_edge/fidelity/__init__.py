"""Is this engine the model? Prompts, differences, limits and verdict; numpy only, so it runs on the device."""
