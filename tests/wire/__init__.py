"""Our server side as HTTP: odd, hostile and slow clients over raw sockets, their answers read by another parser.

Requests are bytes as a test writes them; what comes back is read by h11. Not here: what the API answers, and the way to
an upstream.
"""
