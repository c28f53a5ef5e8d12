"""Dataset and user encoder → trained teacher."""

import logging
import math
from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import TEACHER, read_manifest
from ....core.errors import UserError
from ....core.paths import command_line
from ....teacher.choices import nothing_to_create
from ....teacher.prompts.templates import read_template
from ....training.started import started_together
from ...program.run import Run
from ..base import Prepared, Stage
from ..students import UserEncoder
from ..training import Training
from .language_model import ReadsLanguageModel

if TYPE_CHECKING:
    from torch import Tensor

    from ....teacher.gated_model import GatedLanguageModel
    from ....teacher.trainer_ilora import TeacherModule

log = logging.getLogger(__name__)


class Teacher(ReadsLanguageModel, Training["TeacherModule"]):
    """`data/models/<dataset>/teacher-<name>-<key>/`: what training changed; the language model stays where it is."""

    title = "teacher: training"
    what = "trained teacher"
    kind = TEACHER
    command = "run_teacher"
    name = "teacher"
    elsewhere = "the teacher's settings back"

    def __init__(self, run: Run, prepared: Prepared, user_encoder: UserEncoder) -> None:
        super().__init__(run, prepared)
        self.user_encoder = user_encoder

    def inputs(self) -> Sequence[Stage]:
        return (self.user_encoder,)

    @property
    def template(self) -> str:
        """The prompt's text."""
        return read_template(
            self.settings.paths.prompts_dir, self.settings.dataset.prompt, self.settings.teacher.prompts_like
        )

    def own_folder(self) -> Path:
        teacher = self.settings.teacher
        return self.keyed(
            self.settings.paths.models_dir,
            f"teacher-{teacher.name.replace(':', '.')}-",
            *self.counted,
            self.settings.seed,
        )

    @property
    def counted(self) -> list[Any]:
        # the checkpoint is chosen by the last of them
        filter_seen = self.settings.metrics.filter_seen
        return [self.settings.teacher.key(), self.language_model, self.template, filter_seen]

    def check_settings(self) -> None:
        """Makes sure that there is something to train, and that several processes can."""
        if self.settings.teacher.is_asked:
            nothing_to_create()
        processes = max(started_together(), self.settings.trainer.devices)
        if self.settings.trainer.shard and processes == 1:
            raise UserError(
                "trainer.shard=true shares a language model out over the processes that train its teacher, and there "
                "is one: set trainer.devices above 1, or trainer.shard=false."
            )
        if started_together() > 1 and self.settings.teacher.llm.quantization is not None:
            raise UserError(
                "teacher.llm.quantization goes with one process alone: set it to null, or trainer.devices to 1."
            )

    def check(self) -> None:
        """See `ReadsLanguageModel.check`; items without titles are told first."""
        check_titles(self.prepared, self.settings.dataset.name)
        super().check()
        teacher, items = self.settings.teacher, self.prepared.counts["items"]
        if teacher.objective == "generation" and teacher.generation.candidates > items:
            raise UserError(
                f"teacher.generation.candidates={teacher.generation.candidates} asks for more items than the "
                f"catalogue's {items}: use fewer."
            )

    def trained(self) -> "tuple[TeacherModule, dict[str, Any]]":
        from ....core.precision import resolve_precision
        from ....evaluation.ranking import rows_at_once
        from ....student.trainer_baseline import MONITOR
        from ....teacher.language_model.sharding import ShardedLanguageModel
        from ....teacher.trainer_ilora import TeacherDataModule
        from ....training.loop import Plan, fit
        from ....training.processes import size

        settings, metrics, dataset = self.settings.teacher, self.settings.metrics, self.prepared.dataset
        train = settings.train
        log.info("The teacher is built over the user encoder %s", self.user_encoder.folder)
        model, self.files_read = self.untrained(), self.language_model  # as it is now: training takes its time
        self.unchanged_since_named(f"The files of {settings.llm.name}, or the prompt's text, have")
        module = self._module(model)
        rows = rows_at_once(metrics, dataset, metrics.filter_seen)
        data = TeacherDataModule(model, dataset, train, rows, metrics.filter_seen, self.settings.seed)
        plan = Plan(
            stage=self.checkpoints,
            monitor="val/HR@1" if settings.objective == "generation" else MONITOR,
            **self.goes_on(),
            run_dir=self.run.dir,
            max_epochs=train.max_epochs,
            patience=train.patience,
            precision=resolve_precision(train.precision),
            resume_from=train.resume_from,
            validations_per_epoch=min(train.validations_per_epoch, data.num_batches),
            gradient_clip=train.gradient_clip,
            accumulate=train.accumulate,
        )
        shares = self.settings.trainer.shard and size() > 1
        result = fit(module, data, plan, [ShardedLanguageModel(model)] if shares else [])
        batches = batches_of(result["steps"], data.num_batches, train.accumulate)
        result["tokens_read"] = round(data.num_tokens * batches / data.num_batches)
        return module, result

    def save(self, module: "TeacherModule", result: dict[str, Any]) -> None:
        from ....core.precision import teacher_precision
        from ....teacher.store import save_trained

        settings = self.settings.teacher
        about = {
            **self.about(result),
            "precision": teacher_precision(settings.train.precision),
            "settings": settings.plain(),
            "language_model": self.files_read,
        }
        save_trained(self.folder, module.model, about)

    def untrained(self, item_texts: "Tensor | None" = None) -> "GatedLanguageModel":
        """Returns a new teacher over the user encoder; `item_texts` as in `create_teacher`."""
        from ....teacher.factory import create_teacher

        return create_teacher(
            self.settings.teacher,
            self.prepared.dataset,
            self.user_encoder.load(),
            self.template,
            self.settings.paths.language_models_dir,
            item_texts,
        )

    def load(self) -> "GatedLanguageModel":
        """Returns the trained teacher, in evaluation mode.

        Raises:
            UserError: It has not been trained, or is another one.
        """
        from ....teacher.store import load_trained

        folder = self.require()
        model = load_trained(self.untrained, folder, self.prepared.dataset, self.settings.teacher)
        theirs = read_manifest(folder, "language_model")["language_model"]
        if theirs != self.language_model:
            raise UserError(
                f"The teacher in {folder} was trained with other files of {self.settings.teacher.llm.name} than those "
                f"that are there now ({theirs} instead of {self.language_model}): put them back, or start the same "
                "command again to train another one."
            )
        return model

    def _module(self, model: "GatedLanguageModel") -> "TeacherModule":
        from ....teacher.generation.model import GenerationTeacher
        from ....teacher.generation.trainer import GenerationModule
        from ....teacher.trainer_ilora import ILoRAModule

        if isinstance(model, GenerationTeacher):
            return GenerationModule(model, self.settings.teacher.train, self.settings.seed)
        return ILoRAModule(model, self.settings.teacher.train, self.settings.seed)


class OfTeacher(Stage, ABC):
    """A stage that reads a trained teacher and no other artefact.

    Args:
        run, prepared: See `Stage`.
        teacher: Which.
    """

    def __init__(self, run: Run, prepared: Prepared, teacher: Teacher) -> None:
        super().__init__(run, prepared)
        self.teacher = teacher

    def inputs(self) -> Sequence[Stage]:
        return (self.teacher,)


def check_titles(prepared: Prepared, name: str) -> None:
    """Makes sure that a teacher has something to read.

    Args:
        prepared: The dataset.
        name: What it is called.

    Raises:
        UserError: Some items have no title.
    """
    untitled = prepared.counts.get("untitled_items", 0)  # datasets prepared before it was counted have titles
    if untitled:
        raise UserError(
            f"{untitled:,} of {prepared.counts['items']:,} items of {name} have no title, and a teacher reads titles: "
            "give them in dataset.items, set dataset.untitled=drop, or train students alone "
            f"(`{command_line('run_student_baseline')}`)."
        )


def batches_of(steps: int, in_epoch: int, accumulate: int) -> int:
    """Returns the batches behind some optimiser steps; the last step of an epoch has those of it that are left."""
    epochs, more = divmod(steps, math.ceil(in_epoch / accumulate))
    return epochs * in_epoch + more * accumulate
