"""The walk-through of docs/operators.md, run as it stands."""
