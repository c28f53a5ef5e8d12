"""User encoder → candidates; candidates and an endpoint → teacher outputs: a language model that nobody trains here."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.artefact import making
from ....core.errors import UserError
from ....teacher.api.question import check_template
from ....teacher.prompts.templates import read_template
from ...program.run import Run
from ..base import Prepared, Stage
from .encodings import Encodings
from .ensemble import Ensemble
from .outputs import Exported, Taught
from .teacher import check_titles

if TYPE_CHECKING:
    from torch import Tensor

    from ....data.dataset import Examples
    from ....distill.data_bridge import TeacherOutputs
    from ....teacher.api.answer_store import AnswerStore
    from ....teacher.api.asking import Rankings
    from ....teacher.api.questions import ExampleQuestions
    from ....teacher.ensemble.opinion_pool import OpinionPool

log = logging.getLogger(__name__)


class Candidates(Exported):
    """`data/teacher_outputs/<dataset>/candidates-<key>/`: the frozen user encoder's own rankings of the train examples
    that `active` selects, beside the encodings of the items' texts: teacher outputs of a teacher that has read nothing.

    Args:
        run, prepared: See `Stage`.
        student: The user encoder, at the temperature that validation likes best.
        encodings: The items' texts.
    """

    title = "teacher: candidates"
    what = "user encoder's candidates"
    command = "run_teacher"
    elsewhere = "the teacher's settings back"

    def __init__(self, run: Run, prepared: Prepared, student: Ensemble, encodings: Encodings) -> None:
        super().__init__(run, prepared, student)
        self.student, self.encodings = student, encodings

    def inputs(self) -> Sequence[Stage]:
        return (self.student, self.encodings)

    def implied(self) -> Sequence[Stage]:
        return (*self.student.implied(), *self.inputs())

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.teacher_outputs_dir, "candidates-", *self.counted, self.settings.seed)

    def ranker(self) -> "OpinionPool":
        model = super().ranker()
        model.embeddings = self.encodings.load()
        return model


class Asking:
    """What stages have in common that ask the endpoint: the questions' words, the store, the limits.

    Args:
        stage: Whose settings and dataset.
    """

    def __init__(self, stage: Stage) -> None:
        self.settings, self.prepared = stage.settings, stage.prepared

    @cached_property
    def template(self) -> str:
        """The words around history and candidates."""
        folder, name = self.settings.paths.prompts_dir, self.settings.dataset.prompt
        template = read_template(folder, name, self.settings.teacher.prompts_like)
        check_template(template, f"{folder}, the template {name}.txt of teacher.name=api,")
        return template

    @property
    def counted(self) -> list[Any]:
        """The settings that decide what is asked and what is made of an answer, as JSON has them."""
        prompt = self.settings.teacher.prompt
        return [self.settings.teacher.api.key(), prompt.items, prompt.title_form, self.template]

    @property
    def answers(self) -> Path:
        """The file of the answer store."""
        beside = self.settings.paths.teacher_outputs_dir / "api_answers.sqlite"
        return self.settings.teacher.api.answers or beside

    def check_settings(self) -> None:
        """Makes sure that a model is named, and that the template has its places.

        Raises:
            UserError: None is, or it has not.
        """
        if not self.settings.teacher.api.model:
            raise UserError("teacher.api.model=null names no model: set it to what the endpoint calls the one to ask.")
        _ = self.template

    def check(self) -> None:
        """Makes sure that items have titles, and that there is a key, before anything long runs.

        Raises:
            UserError: They have not, or there is none.
        """
        from ....teacher.api.endpoint import key_of

        check_titles(self.prepared, self.settings.dataset.name)
        key_of(self.settings.teacher.api)

    def questions(self, history: "Tensor", offered: "Tensor") -> "ExampleQuestions":
        """Returns the questions of histories `[n, L]` about candidates `[n, C]`."""
        from ....teacher.api.questions import ExampleQuestions, shown_titles

        teacher = self.settings.teacher
        titles = shown_titles(self.prepared.dataset, teacher)
        return ExampleQuestions(history, offered, titles, self.template, teacher.api.answer)

    def ask(self, questions: "ExampleQuestions", store: "AnswerStore", title: str) -> "Rankings":
        """Returns the rankings, once the log has told what came of them."""
        from ....teacher.api.asking import rank_all
        from ....teacher.api.budget import told
        from ....teacher.api.endpoint import Endpoint

        api = self.settings.teacher.api
        found = rank_all(questions, api, store, Endpoint(api), title)
        log.info(
            "%s questions, %s of them distinct: %s rankings, %s of which leave the candidates as they were shown; %s "
            "refused, for which the user encoder's order stands in; %s",
            *(f"{each:,}" for each in (len(questions), found.distinct, len(questions) - found.refused)),
            f"{found.as_shown:,}",
            f"{found.refused:,}",
            told(api, found.usage),
        )
        return found

    def forecast(self, questions: "ExampleQuestions", title: str) -> str:
        """Returns what asking these questions will take, in words; reads answers, and asks nothing."""
        from ....teacher.api.answer_store import NoAnswers
        from ....teacher.api.forecast import forecast

        api = self.settings.teacher.api
        if not self.answers.is_file():
            return f"{title}: {forecast(questions, api, NoAnswers())}"
        with self.store() as store:
            return f"{title}: {forecast(questions, api, store)}"

    def rough_forecast(self, title: str, split: str, share: float = 1.0) -> str:
        """Returns the same before anybody knows what the questions are, for questions of the usual length about a share
        of the examples of a split.
        """
        from ....teacher.api.forecast import usual

        if not self.prepared.is_made():
            return f"{title}: its questions are counted once the dataset is prepared."
        asked = max(1, round(share * self.prepared.counts[f"{split}_examples"]))
        return f"{title}: {usual(asked, self.prepared.dataset, self.settings.teacher, self.template)}"

    def store(self) -> "AnswerStore":
        """Returns the answer store, to be used in a `with`."""
        from ....teacher.api.answer_store import AnswerStore

        return AnswerStore(self.answers)


class ApiOutputs(Taught):
    """`data/teacher_outputs/<dataset>/api-<key>/`: the candidates as the endpoint's model ranks them. A ranking has no
    probabilities: its items take the user encoder's log-probabilities of the same places, and behind the candidates
    come the user encoder's own next ones.

    Args:
        run, prepared: See `Stage`.
        candidates: What is ranked.
    """

    title = "teacher: export"

    def __init__(self, run: Run, prepared: Prepared, candidates: Candidates) -> None:
        super().__init__(run, prepared)
        self.candidates, self.asking = candidates, Asking(self)

    def inputs(self) -> Sequence[Stage]:
        return (self.candidates,)

    @property
    def embeds_texts(self) -> bool:
        return self.given is None

    def own_folder(self) -> Path:
        return self.keyed(self.settings.paths.teacher_outputs_dir, "api-", *self.counted)

    @property
    def counted(self) -> list[Any]:
        return self.asking.counted

    def check_settings(self) -> None:
        if self.given is None:
            self.asking.check_settings()

    def check(self) -> None:
        self.asking.check()

    def forecast(self) -> list[str]:
        """Returns what asking will take: of every question where the candidates are there, else of usual ones."""
        if not self.prepared.is_made() or not self.candidates.is_made():
            return [self.asking.rough_forecast(self.title, "train", self.settings.active.share)]
        return [self.asking.forecast(self._questions(*self._shown(self.candidates.load())), self.title)]

    def some_questions(self, number: int) -> list[str]:
        """Returns questions word for word, drawn from the run's seed; asks nothing.

        Raises:
            UserError: The candidates are not there.
        """
        from ....core.seed import generator

        examples, items = self._shown(self.candidates.load())
        drawn = examples.sample(number, generator(self.settings.seed))
        questions = self._questions(drawn, items[(examples.example_id[:, None] == drawn.example_id).any(1)])
        return [questions[row] for row in range(len(questions))]

    def turn(self) -> AbstractContextManager[object]:
        """See `Stage.turn`: one process asks at a time, since each counts by itself what is spent."""
        return making(self.folder)

    def make(self) -> None:
        import torch

        from ....teacher.api.budget import cost
        from ....teacher.export import write_outputs

        api = self.settings.teacher.api
        of_student = self.candidates.load()
        examples, items = self._shown(of_student)
        scores = -of_student.distance[of_student.row_of_example[examples.example_id]]
        questions = self._questions(examples, items)
        with self.asking.store() as store:
            found = self.asking.ask(questions, store, self.title)
        items[:, : api.candidates] = items[:, : api.candidates].gather(1, torch.tensor(found.places))
        told = {
            "teacher": api.model,
            "scores": "the user encoder's log-probabilities of the same places",
            "questions": len(questions),
            "distinct_questions": found.distinct,
            "refused": found.refused,
            "as_shown": found.as_shown,
            "prompt_tokens": found.usage.prompt,
            "completion_tokens": found.usage.completion,
            "cost": cost(api, found.usage),
        }
        about = {
            **self.about(told),
            "teacher_settings": self.settings.teacher.plain(),
            "active": self.settings.active.plain(),
            "tokens_read": found.usage.prompt,
        }
        write_outputs(self.folder, examples.example_id, items, scores, of_student.item_embeddings, about)

    def _shown(self, of_student: "TeacherOutputs") -> "tuple[Examples, Tensor]":
        """Returns the examples that are asked about, and the student's items for each, `[n, k]` int64, best first."""
        train = self.prepared.dataset.examples["train"]
        row = of_student.row_of_example[train.example_id]
        return train.subset(row >= 0), of_student.candidates[row[row >= 0]]

    def _questions(self, examples: "Examples", items: "Tensor") -> "ExampleQuestions":
        teacher = self.settings.teacher
        history = self.prepared.dataset.batch(examples, teacher.prompt.items).history
        return self.asking.questions(history, items[:, : teacher.api.candidates])
