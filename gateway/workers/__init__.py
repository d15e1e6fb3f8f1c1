"""Several worker processes on one port, and the one process that tells them what is true.

    parent   follows the registries, has nodes prove themselves, writes the snapshot; reserves the port, accepts nothing
      |  a socket pair a worker: what is believed and proven goes down as changes, what was counted comes up
    worker   answers requests: keys, names, balance, failover, relaying; knows of nodes only what it was told

A worker is a fresh interpreter and no fork: by the time that one has to be started again, the parent has threads and a
running loop, neither of which survives a fork.
"""
