"""Checks that take minutes: `make soak`. What they are made of is tried in seconds by the ordinary tests."""
