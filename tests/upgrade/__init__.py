"""Another release on a running VM, and a backup of it: the real commands, in a root of their own."""
