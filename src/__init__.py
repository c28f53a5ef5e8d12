"""An LLM recommender turned into a small, fast sequential recommender.

What a Python caller needs is here: `load_dataset`, `train_student`, `load_student`, `evaluate`, `recommend`, and
`Recommender` for a served model. All else is a command.
"""

from typing import TYPE_CHECKING, Any

from .api import evaluate, load_dataset, load_student, recommend, train_student

__version__ = "0.2.0"
__all__ = ["Recommender", "__version__", "evaluate", "load_dataset", "load_student", "recommend", "train_student"]

if TYPE_CHECKING:
    from .serve.recommender import Recommender


def __getattr__(name: str) -> Any:
    """Imports onnxruntime where `Recommender` is asked for, not before."""
    if name == "Recommender":
        from .serve.recommender import Recommender

        return Recommender
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
