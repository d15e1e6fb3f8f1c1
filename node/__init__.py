"""The agent beside the GPU: it supervises engines, serves the OpenAI API, and publishes what it serves.

Not here: whose adverts count (registry), how a request crosses one hop (relay), routing between nodes (gateway).
"""
