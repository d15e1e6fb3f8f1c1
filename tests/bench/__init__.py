"""The benches' own clients: what they count, and what they do not let pass."""
