"""Encodings on their principal axes, made more equally wide."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...student.layers.embedding import without_mean

ROUNDING = 1e-10  # share of the largest variance below which a direction is none


@dataclass(frozen=True)
class Whitening:
    """`(e - mean) axes` for encodings e.

    mean: `[d]` float64.
    axes: `[d, d]` float64, a column for each axis.
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, encodings: Tensor) -> Tensor:
        """Returns encodings `[n, d]`, float32."""
        return ((encodings.double() - self.mean) @ self.axes).float()


def whitening(encodings: Tensor, strength: float) -> Whitening:
    """Returns what takes the mean from encodings `[n, d]` and puts them on their principal axes, each divided by its
    standard deviation to the power `strength`: 0 leaves them as they are, with 1 all axes count the same.

    Encodings by language models share a few directions that say little (Su et al. 2021, "Whitening Sentence
    Representations for Better Semantics and Faster Retrieval"); those that vary least are noise.

    Raises:
        UserError: All encodings are the same.
    """
    centred = without_mean(encodings.double())
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances = variances / variances.max()
    there = variances > ROUNDING
    scale = variances.clamp(min=ROUNDING) ** (-strength / 2)
    return Whitening(encodings.double().mean(0), axes * scale.where(there, 0))


def whitened(encodings: Tensor, strength: float) -> Tensor:
    """Returns `whitening` of encodings `[n, d]`, done to them; raises as it does."""
    return whitening(encodings, strength)(encodings)
