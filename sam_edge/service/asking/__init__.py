"""What clients ask of the model: prompts, the engine, and what is kept for them."""
