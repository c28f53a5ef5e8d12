"""The HTTP service: requests in, recommendations by raw id out.

Imports from core and serve. May be imported by exp.
"""
