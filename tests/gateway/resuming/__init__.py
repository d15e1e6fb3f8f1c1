"""Streams that break, told on: the parts of it, without a network."""
