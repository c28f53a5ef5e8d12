"""What a run found, as one page that opens from a file and as Markdown, from what the run's folder and the prepared
dataset hold: no model is read. May be imported by `exp`; it imports `core`, `data` and `evaluation`.
"""
