"""Rankers that teach together: the language model with the student it was built over, and pools of unlike students.

May be imported by the teacher's models, by export and by exp.
"""
