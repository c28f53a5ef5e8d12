"""A teacher that is asked over the network: questions, strict answers, an answer store, a budget, an endpoint.

Knows nothing of the teachers that are trained here; its settings are part of `teacher.*`.
"""
