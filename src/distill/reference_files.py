"""Teacher outputs as DLLM2Rec's own program reads them: confidence is a distance, and there is a line per example."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..core.errors import UserError
from ..data.dataset import Dataset
from ..data.export.folder import exporting
from .data_bridge import TeacherOutputs


def export_teacher_files(
    outputs: TeacherOutputs, dataset: Dataset, folder: Path, width: int | None, about: dict[str, Any]
) -> None:
    """Writes `myrank_train.txt` and `confidence_train.txt` `[num_train_examples, K]` and `all_embeddings.pt`
    `[num_items, width]`.

    Its weight of a candidate is `exp(-confidence)`: our log-probabilities, where higher is better, would be read upside
    down. Line n is train example n, row n of its train frame; items are numbered from 0.

    Args:
        outputs: Of all train examples.
        dataset: What they belong to.
        folder: `tocf/<name>` in a checkout of DLLM2Rec.
        width: Embeddings are filled up with columns of zeros to so many, which a linear map of them does not see; None:
            they stay as they are.
        about: For the manifest.

    Raises:
        UserError: The teacher was not asked about every train example, its embeddings are wider than `width`, or
            `folder` holds something else.
    """
    rows = outputs.row_of_example[dataset.examples["train"].example_id]
    asked = int((rows >= 0).sum())
    if asked < len(rows):
        raise UserError(
            f"The teacher was asked about {asked:,} of {len(rows):,} train examples, and DLLM2Rec reads a line for "
            "each: export teacher outputs of all of them (active=all)."
        )
    embeddings = outputs.item_embeddings
    missing = 0 if width is None else width - embeddings.shape[1]
    if missing < 0:
        raise UserError(
            f"The teacher's item embeddings have {embeddings.shape[1]} numbers, more than "
            f"export.teacher_width={width}: set it to null and change DLLM2Rec's 4096 to theirs."
        )
    with exporting(folder, "dllm2rec teacher", about) as temporary:
        np.savetxt(temporary / "myrank_train.txt", (outputs.candidates[rows] - 1).numpy(), fmt="%d")
        np.savetxt(temporary / "confidence_train.txt", outputs.distance[rows].numpy(), fmt="%.9g")
        torch.save(F.pad(embeddings, (0, missing)), temporary / "all_embeddings.pt")
