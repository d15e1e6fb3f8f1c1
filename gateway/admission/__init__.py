"""Who may be sent on now, and who waits: so that nothing is sent where all is full, and no client starves another."""
