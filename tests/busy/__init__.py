"""Many clients at once, and nodes, gateways and clocks that change beside them, with real parts everywhere."""
