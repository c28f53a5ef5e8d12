"""From a trained student to recommendations by raw id: in Python, in a batch, over HTTP.

Imports from core and data; `serve.onnx`, which makes the files that all else here reads, from evaluation and student,
too. What answers needs no PyTorch: a model file for onnxruntime and tables beside it. May be imported by exp.
"""
