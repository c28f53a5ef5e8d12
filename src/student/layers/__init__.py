"""What students are assembled from and that knows no student: item table, attention, filter, dropout.

Imports from core and the student's settings. May be imported by student, teacher and distill.
"""
