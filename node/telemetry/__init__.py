"""How the node and its models are doing: counted, read, and shown."""
