"""iLoRA's own objective: the title of the next item is written, chosen among candidates. The tree of titles.

May be imported by the teacher's builder and by exp.
"""
