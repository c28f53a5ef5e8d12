"""An LLM recommender turned into a small, fast sequential recommender."""

__version__ = "0.1.0"
