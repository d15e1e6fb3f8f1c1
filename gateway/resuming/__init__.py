"""A chat or completion stream that breaks, brought to its end on another node, in the client's own stream."""
