"""The questions about examples of a dataset: titles of the newest items, titles of candidates."""

from dataclasses import dataclass

from torch import Tensor

from ...data.dataset import Dataset
from ..prompts.titles import TITLE_FORMS
from ..settings import TeacherSettings
from .question import question


@dataclass(frozen=True)
class ExampleQuestions:
    """See `asking.Questions`.

    history: `[n, L]` int64, right-padded with 0, oldest first.
    offered: `[n, C]` int64 item numbers, in the order in which they are shown.
    titles: Of item j + 1 at index j, each on one line.
    template: The words around them (`question.check_template`).
    answer: How it is to be answered.
    """

    history: Tensor
    offered: Tensor
    titles: list[str]
    template: str
    answer: str

    @property
    def candidates(self) -> int:
        return self.offered.shape[1]

    def __len__(self) -> int:
        return len(self.offered)

    def __getitem__(self, row: int) -> str:
        return question(self.template, self._shown(self.history[row]), self._shown(self.offered[row]), self.answer)

    def _shown(self, items: Tensor) -> list[str]:
        return [self.titles[item - 1] for item in items[items > 0].tolist()]


def shown_titles(dataset: Dataset, settings: TeacherSettings) -> list[str]:
    """Returns every item's title as questions show it: on one line, `api.title_characters` at most."""
    form, most = TITLE_FORMS[settings.prompt.title_form], settings.api.title_characters
    return [" ".join(form(title).split())[:most].rstrip() for title in dataset.catalogue.titles]
