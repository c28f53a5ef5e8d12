"""One short training run of a student, from the seed on."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from src.core.seed import seed_everything
from src.data.dataset import Dataset
from src.student.datamodule import StudentDataModule
from src.student.settings import OptimisationSettings
from src.student.trainer_baseline import NextItemModule
from src.training.loop import Plan, fit
from tests.student.students import L

OPTIMISATION = OptimisationSettings(lr=0.01, weight_decay=0.01, max_epochs=3)


def fitted(
    make: Callable[[], NextItemModule],
    dataset: Dataset,
    run_dir: Path,
    seed: int = 0,
    epochs: int = 3,
    resume_from: Path | None = None,
) -> dict[str, Tensor]:
    """Seeds, makes the module, trains it for a few epochs; returns the student's best weights."""
    seed_everything(seed)
    module = make()
    fit(
        module,
        StudentDataModule(
            dataset, L, module.model.causal, 0, batch_targets=24, eval_batch_size=5, filter_seen=False, seed=seed
        ),
        Plan(
            stage="student",
            monitor="val/NDCG@10",
            made_from={},
            kept_in=run_dir / "checkpoints" / "student",
            run_dir=run_dir,
            max_epochs=epochs,
            patience=9,  # a checkpoint keeps it: the same for whole and interrupted trainings
            precision="32-true",
            resume_from=None if resume_from is None else resume_from / "checkpoints" / "student" / "last.ckpt",
        ),
    )
    return module.model.state_dict()
