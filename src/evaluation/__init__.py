"""Ranking the whole catalogue, and what follows: metrics by slice, popularity, significance, tables.

Imports from core and data; knows no model but popularity. May be imported by student, teacher, distill and exp.
"""
