"""An LLM recommender turned into a small, fast sequential recommender.

What a Python caller needs is here: `load_dataset`, `train_student`, `load_student`, `evaluate`, `recommend`. All else
is a command.
"""

from .api import evaluate, load_dataset, load_student, recommend, train_student

__version__ = "0.2.0"
__all__ = ["__version__", "evaluate", "load_dataset", "load_student", "recommend", "train_student"]
