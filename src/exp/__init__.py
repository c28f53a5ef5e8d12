"""The commands, one file each (`python -m src.exp.run_all`); rooms for stages, studies and how a program starts.

Imports everything; nothing imports from here but the package's public face.
"""
