"""What is in memory, and who leaves it for another."""
