"""The HTTP service: requests in, recommendations by raw id out.

Imports from core, data and serve. May be imported by exp.
"""
