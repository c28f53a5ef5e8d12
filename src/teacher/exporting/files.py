"""The rankings as files, in DLLM2Rec's layout and as tensors."""

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

ROWS = 2**16  # of a text file that are written at once


def write_rankings(folder: Path, example_id: Tensor, items: Tensor, scores: Tensor) -> None:
    """Writes the two text files and `rankings.safetensors`.

    Args:
        folder: Where.
        example_id: `[n]` int64.
        items: `[n, K]` int64 in DLLM2Rec's numbers 0..num_items-1, best first.
        scores: `[n, K]` float32.
    """
    tensors = {"example_ids": example_id, "items": items, "scores": scores}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "rankings.safetensors")
    _write_rows(folder / "myrank_train.txt", items, "%d")
    _write_rows(folder / "confidence_train.txt", scores, "%.7g")


def _write_rows(path: Path, rows: Tensor, number_format: str) -> None:
    line = " ".join([number_format] * rows.shape[1])
    with path.open("w", encoding="ascii") as file:
        for some in rows.split(ROWS):  # as Python's numbers they take ten times the room
            file.write("".join(line % tuple(row) + "\n" for row in some.tolist()))
