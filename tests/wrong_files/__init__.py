"""Wrong files by the hundreds, for each reader of what people give us: what is done to them, and what must come of it.

`python -m tests.wrong_files` injects them all and prints how many were read right and how many refused.
"""
