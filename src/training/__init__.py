"""The training loop that students and teachers share: Lightning, checkpoints, schedules, the softmax over a catalogue.

Imports from core and data. May be imported by student, teacher, distill and exp.
"""
