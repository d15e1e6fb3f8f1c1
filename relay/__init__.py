"""Carry one request one hop. Node and gateway both do it, so what they share of HTTP lives here.

Imports nothing else of ours. Which upstream is asked, and who may ask, is not decided here.
"""
