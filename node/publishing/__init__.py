"""What others are told of this node, and by what right."""
