"""The way to an upstream and back: connections of ours against one that says exactly what it is told, byte for byte."""
