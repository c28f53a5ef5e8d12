"""Raw files: where they are found or fetched from, and a reader for each layout.

A new layout is one file here (a `Layout`) and one line in `layouts.LAYOUTS`. Only data and exp import from here.
"""
