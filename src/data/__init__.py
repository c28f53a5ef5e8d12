"""Logs: raw files and their readers (`raw/`), preparation, the prepared dataset, rows, windows and batches for models;
other programs' frames made into a log (`conversion/`), a prepared dataset written for other programs (`export/`).

Imports from core alone. May be imported by everything above it: training, evaluation, student, teacher, distill, exp.
"""
