"""Studies of many trainings: the search for a student's settings, the curve of quality against the teacher's cost.

May be imported by commands.
"""
