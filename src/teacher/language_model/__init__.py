"""The frozen language model: where it comes from, how it is loaded, what makes it faster or smaller.

May be imported by the teacher and by exp's checks before a run.
"""
