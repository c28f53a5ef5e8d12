"""Logs: raw files and their readers (`raw/`), preparation, the prepared dataset, rows, windows and batches for models.

Imports from core alone. May be imported by everything above it: training, evaluation, student, teacher, distill, exp.
"""
