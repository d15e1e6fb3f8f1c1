"""One file an engine: each alone knows its program's flags, routes and faults."""
