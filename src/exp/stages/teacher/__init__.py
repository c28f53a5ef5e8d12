"""Stages of the teacher: encodings of texts, training, calibration, what it answers, and what it exports.

May be imported by the other stages and by commands.
"""
