"""Hands what a training logs to whoever else wants to know, a thousand figures at a time."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers.logger import Logger

AT_ONCE = 1000  # figures that are handed over together at most
SECONDS_KEPT = 10.0  # after which fewer are handed over

Figure = tuple[str, float, int]  # what was measured, its value, optimiser steps


class FiguresTo(Logger):
    """Passes on every figure that a training logs, beside its TensorBoard events.

    Args:
        tell: Takes the figures of some steps, in order.
        name: Stands before each figure's name: "baseline" makes "baseline/train/loss".
    """

    def __init__(self, tell: Callable[[Sequence[Figure]], None], name: str) -> None:
        super().__init__()
        self.tell = tell
        self.of = name
        self.kept: list[Figure] = []
        self.told = time.monotonic()

    @property
    def name(self) -> str:
        return self.of

    @property
    def version(self) -> str:
        return self.of

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: a run's settings are told once, by the run."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.kept += [(f"{self.of}/{name}", float(value), step or 0) for name, value in metrics.items()]
        if len(self.kept) >= AT_ONCE or time.monotonic() - self.told >= SECONDS_KEPT:
            self._hand_over()

    def finalize(self, status: str) -> None:
        """Hands over the last ones; Lightning asks for it however a training ends."""
        self._hand_over()

    def _hand_over(self) -> None:
        for first in range(0, len(self.kept), AT_ONCE):
            self.tell(self.kept[first : first + AT_ONCE])
        self.kept.clear()
        self.told = time.monotonic()
