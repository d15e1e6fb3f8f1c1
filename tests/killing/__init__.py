"""Real nodes killed in the middle of their answers, and what the clients of the gateway saw of it."""
