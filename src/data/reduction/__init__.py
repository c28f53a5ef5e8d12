"""A log that is longer than one machine takes, cut by Apache Spark to what the settings' filters leave of it.

Imports from core and data alone. May be imported by exp.
"""
