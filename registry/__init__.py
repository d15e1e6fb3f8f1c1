"""What nodes claim, and which claims count: signed texts, keys, trust, and the boards they travel on.

Not here: HTTP, routing, engines. This package imports none of ours.
"""
