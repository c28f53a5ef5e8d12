"""Prints training examples as the teacher reads them: the first thing to look at when a teacher does not learn."""

import hydra
import torch
from omegaconf import DictConfig

from ..core.paths import CONF_DIR
from ..core.seed import generator
from ..student.datamodule import TrainingWindows
from ..teacher.factory import create_prompts
from ..teacher.inspection import described_examples, described_windows
from ..teacher.user_prompt import UserPrompts
from .run import Run, start
from .stages import check_teacher, prepare


def job(run: Run) -> None:
    tokenizer, positions = check_teacher(run)
    dataset, draw = prepare(run), generator(run.cfg.seed)
    prompts = create_prompts(
        run.settings("teacher.prompt"),
        dataset.catalogue,
        tokenizer,
        positions,
        run.path("prompts_dir"),
        run.cfg.dataset.prompt,
    )
    if run.cfg.teacher.reading == "user":
        windows = TrainingWindows(dataset, min(prompts.prompt_items, run.cfg.student.model.history_length))
        rows = torch.randperm(len(windows), generator=draw)[: run.cfg.inspect.examples]
        paragraphs = described_windows(dataset, windows, rows, UserPrompts(prompts), tokenizer)
    else:
        examples = dataset.examples["train"].sample(run.cfg.inspect.examples, draw)
        paragraphs = described_examples(dataset, examples, prompts, tokenizer)
    for paragraph in paragraphs:
        print(f"\n{paragraph}")


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")
def main(cfg: DictConfig) -> None:
    start(cfg, job)


if __name__ == "__main__":
    main()
