"""A node that can be told to break in any way there is: a program, its engine, its rules, and its faults."""
