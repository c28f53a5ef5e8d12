"""A prepared dataset, its split included, written in the layouts that other programs read.

A new layout is one file here. Imports from core and data alone. May be imported by distill and exp.
"""
