"""What asking will take, before anything is asked: an estimate, and what nothing can pass."""

from ...data.dataset import Dataset
from ..settings import TeacherSettings
from .answer_store import Answers, Usage
from .asking import Questions, distinct, unanswered
from .budget import told
from .question import question
from .questions import shown_titles
from .settings import ApiSettings


def answer_tokens(settings: ApiSettings, candidates: int) -> int:
    """Returns about how many tokens a right answer has: two for each number, and ten around them."""
    return min(settings.answer_tokens, 2 * candidates + 10)


def forecast(questions: Questions, settings: ApiSettings, store: Answers) -> str:
    """Returns, in words, how many questions there are, how many of these are answered, and what the others will take: a
    token for every `characters_per_token` characters of a question, and a right answer at once.
    """
    left = [len(request.text) for request in unanswered(questions, settings, store)]
    whole = len(distinct(questions, settings))
    usage = _usage(sum(left), len(left), questions.candidates, settings)
    return (
        f"{len(questions):,} questions, {whole:,} of them distinct, {whole - len(left):,} of these answered; the "
        f"others will take {_estimate(usage, settings)}."
    )


def usual(number: int, dataset: Dataset, settings: TeacherSettings, template: str) -> str:
    """Returns the same of questions that nobody knows yet, over titles of the catalogue's mean length.

    Args:
        number: Of the questions.
        dataset: Whose catalogue.
        settings: Key `teacher`.
        template: The words around the titles.
    """
    api, titles = settings.api, shown_titles(dataset, settings)
    title = "x" * round(sum(map(len, titles)) / len(titles))
    text = question(template, [title] * settings.prompt.items, [title] * api.candidates, api.answer)
    usage = _usage(number * len(text), number, api.candidates, api)
    return f"{number:,} questions, which will take {_estimate(usage, api)} (roughly: the candidates are not known yet)."


def _usage(characters: int, questions: int, candidates: int, settings: ApiSettings) -> Usage:
    prompt = round(characters / settings.characters_per_token)
    return Usage(prompt, questions * answer_tokens(settings, candidates))


def _estimate(usage: Usage, settings: ApiSettings) -> str:
    return (
        f"about {usage.prompt:,} tokens read and {usage.completion:,} written, {told(settings, usage)} in all "
        f"({settings.characters_per_token:g} characters a token)"
    )
