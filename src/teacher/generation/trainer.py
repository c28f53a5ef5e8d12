"""Trains the generation teacher: iLoRA's curriculum, and HitRatio@1 of what it answers on validation."""

import torch

from ...training.parts import own_part
from ...training.processes import gathered
from ..settings import TeacherTrainingSettings
from ..trainer_ilora import TeacherModule
from .hit_ratio import HitRatio, hit_ratio
from .model import ChoiceBatch, GenerationTeacher


class GenerationModule(TeacherModule[ChoiceBatch]):
    """The training loop's view of the generation teacher, which is validated by what it answers.

    Args:
        model: The teacher.
        train: Its optimisation.
        seed: Of curriculum and templates.
    """

    def __init__(self, model: GenerationTeacher, train: TeacherTrainingSettings, seed: int) -> None:
        super().__init__(model, train, seed)
        self.judged = Judgement(model)

    def validation_step(self, batch: ChoiceBatch, batch_idx: int) -> None:
        part = own_part(batch)
        if part.rows:
            self.judged.add(part.batch)
        self.val_gates.append(self.model.gates(part.batch.history)[: part.rows])

    def on_validation_epoch_end(self) -> None:
        found = self.judged.result()
        self.log("val/HR@1", found.of_all)
        self.log("val/HR@1_of_valid", found.of_valid)
        self.log("val/ValidRatio", found.valid_ratio)
        self._tell_about_gates(gathered(torch.cat(self.val_gates)))
        self.val_gates.clear()


class Judgement:
    """Collects a teacher's answers, batch by batch, and judges them."""

    def __init__(self, model: GenerationTeacher) -> None:
        self.model = model
        self.clear()

    def clear(self) -> None:
        """Forgets what was added."""
        self.answers: list[str] = []
        self.targets: list[str] = []
        self.candidates: list[list[str]] = []

    def add(self, batch: ChoiceBatch) -> None:
        title = self.model.title_of
        self.answers += self.model.answers(batch)
        self.targets += [title(item) for item in batch.target.tolist()]
        self.candidates += [[title(item) for item in items] for items in batch.candidates.tolist()]

    def result(self) -> HitRatio:
        """Returns the judgement of all that was added since the last one."""
        found = hit_ratio(self.answers, self.targets, self.candidates)
        self.clear()
        return found
