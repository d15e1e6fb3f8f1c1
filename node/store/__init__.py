"""Fetching weights to this machine, once, whole and checked."""
