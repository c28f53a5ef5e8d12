"""What items' texts say without a language model reading a history: how alike they are, and the map that learns it.

May be imported by the teacher's ensemble and by exp.
"""
