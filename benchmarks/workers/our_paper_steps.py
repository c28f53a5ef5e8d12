"""Our distillation at DLLM2Rec's setting, `student=sasrec_paper` and `distill.preset=paper`, trained step by step.

Settings: `world` (of `synthetic_dataset`), `teacher` (folder of the three files), `batch`, `warm_up`, `steps`.
"""

from pathlib import Path

from torch.utils.data import DataLoader

from src.core.logging import quiet_libraries
from src.core.seed import seed_everything
from src.data.rows import TrainingExamples
from src.distill.data_bridge import load_teacher_outputs
from src.distill.distilled_student import distil_module

from ..ours import WindowBatches, run_of, synthetic_dataset, train_by_steps
from ..timing import Line, StepClock

SAME_SETTING = [
    "student=sasrec_paper",
    "distill=dllm2rec",
    "distill.preset=paper",
    "distill.candidate_topk=10",
    "distill.alpha=0.5",
    "distill.lam=0.7",
    "distill.ed_weight=0.3",
]


def main() -> None:
    line = Line()
    quiet_libraries()
    run = run_of(SAME_SETTING)
    settings = run.settings
    seed_everything(settings.seed)
    dataset = synthetic_dataset(**line.settings["world"])
    outputs = load_teacher_outputs(Path(line.settings["teacher"]), dataset, "lower")
    module = distil_module(settings.student, settings.distill, dataset, outputs, settings.seed)
    examples = TrainingExamples(dataset, settings.student.model.history_length)
    full = (examples.examples.end >= settings.student.model.history_length).nonzero().squeeze(1)
    batches = WindowBatches(examples, full, line.settings["batch"], 0)
    train_by_steps(run, module, DataLoader(examples, sampler=batches, batch_size=None), StepClock(line))


if __name__ == "__main__":
    main()
