"""What a model is expected to take of memory, and what it took."""
