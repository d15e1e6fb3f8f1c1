"""Waypost over a network that fails: each host in a network namespace of its own, and a router between them."""
