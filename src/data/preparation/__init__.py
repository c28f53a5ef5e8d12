"""The rules that make a dataset of a log, for logs in memory and for longer ones, whose columns are files.

Imports from core and data. May be imported by data and exp.
"""
