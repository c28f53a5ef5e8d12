"""What everything stands on: settings as types, choices by name, artefacts, metrics on tensors, errors, log, paths.

Knows nothing of models or datasets, and imports nothing of the other rooms. Everyone may import from here.
"""
