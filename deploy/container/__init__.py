"""What the container images run beside Waypost itself. Imports the standard library alone."""
