"""From a teacher's files to a student: the data bridge, DLLM2Rec's losses and others, which examples to ask about.

Imports from core up to student; of a teacher it knows the files, never the code. Only exp imports it.
"""
