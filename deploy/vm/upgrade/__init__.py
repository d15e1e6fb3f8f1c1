"""What changes a running VM: another release of the agent, and back; a backup of what it cannot lose, and its return.

Standard library alone, run by the system's Python: it has to work whatever release is installed, a broken one included.
"""
