"""Nodes that break in every way, behind a real gateway, and what the official client sees of it."""
