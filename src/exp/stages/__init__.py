"""The road, a stage a file: what it reads, its key, how it is made and loaded. `road.py` shows how they hang together.

May be imported by commands and studies.
"""
