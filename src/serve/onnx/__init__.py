"""A student as one ONNX file, and what is told of it: the only part of `serve` that needs PyTorch.

Imports from core, data, evaluation, student and serve. May be imported by exp.
"""
