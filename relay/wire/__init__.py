"""HTTP/1.1 from transport to transport: what the hot path is made of. Not here: what a request or an answer means."""
