"""Other programs' frames of windows (iLoRA's, DLLM2Rec's) made into a plain log that `dataset=custom` reads.

The one room where a pickle is looked into: its opcodes are read as data, nothing of it is imported or called. Imports
from core and data alone. May be imported by exp.
"""
