"""What is asked, word for word, and what counts as an answer."""

import json
import re
from collections.abc import Sequence
from typing import Any

from ...core.errors import UserError
from ..prompts.templates import CANDIDATES, HISTORY

LINE = re.compile(r"[1-9][0-9]{0,5}(?:(?:[ \t]*,[ \t]*|[ \t]+)[1-9][0-9]{0,5})*")
SHOWN = 200  # characters of a wrong answer that are shown when a question is asked again
FIELD = "ranking"


def check_template(template: str, path: str) -> None:
    """Makes sure that a template has one place for the history and one for the candidates.

    Raises:
        UserError: It has not.
    """
    for marker in (HISTORY, CANDIDATES):
        if template.count(marker) != 1:
            raise UserError(f"{path} must hold {marker} once, and holds it {template.count(marker)} times: mend it.")


def question(template: str, history: Sequence[str], candidates: Sequence[str], answer: str) -> str:
    """Returns a question: the template with a title on each line, the candidates numbered from 1, and how to answer.

    Args:
        template: Text with places for history and candidates.
        history: Titles, oldest first.
        candidates: Titles.
        answer: "line" or "json_schema", see `ranking_in`.
    """
    seen = "\n".join(f"- {title}" for title in history)
    offered = "\n".join(f"{number}. {title}" for number, title in enumerate(candidates, start=1))
    # a title may hold a marker: it is put in once, and not looked at again
    before, _, after = template.strip().partition(HISTORY)
    parts = [part.replace(CANDIDATES, offered) for part in (before, after)]
    return f"{seen.join(parts)}\n\n{_how_to_answer(len(candidates), answer)}"


def _how_to_answer(candidates: int, answer: str) -> str:
    which = f"all numbers from 1 to {candidates}, each once, the likeliest first"
    if answer == "line":
        return f"Answer with {which}, on one line, separated by commas, and with nothing else."
    return f'Answer with a JSON object, {{"{FIELD}": [...]}}, whose list holds {which}.'


def asked_again(question: str, wrong: str) -> str:
    """Returns the question with the answer that was none below it: the same words would be answered the same way."""
    return f"{question}\n\nYour last answer was no such ranking: {wrong[:SHOWN]!r}"


def response_format(candidates: int) -> dict[str, Any]:
    """Returns what an endpoint's `response_format` takes: the JSON schema of a right answer.

    That no number comes twice no schema of theirs can say: `ranking_in` looks.
    """
    numbers = {"type": "array", "items": {"type": "integer", "enum": list(range(1, candidates + 1))}}
    schema = {
        "type": "object", "properties": {FIELD: numbers}, "required": [FIELD], "additionalProperties": False
    }  # fmt: skip
    return {"type": "json_schema", "json_schema": {"name": FIELD, "strict": True, "schema": schema}}


def ranking_in(said: str, candidates: int, answer: str) -> list[int] | None:
    """Returns the places of the candidates, from 0, best first; None where the answer is anything but all of them once.

    Args:
        said: The answer.
        candidates: How many there are.
        answer: "line": numbers separated by commas or blanks, on one line, with nothing around them; "json_schema": an
            object with the one field `ranking`.
    """
    numbers = _numbers_of_line(said) if answer == "line" else _numbers_of_json(said)
    places = [number - 1 for number in numbers]
    return places if sorted(places) == list(range(candidates)) else None


def _numbers_of_line(said: str) -> list[int]:
    return [int(number) for number in re.split(r"[ \t,]+", said.strip())] if LINE.fullmatch(said.strip()) else []


def _numbers_of_json(said: str) -> list[int]:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):  # brackets or digits without end
        return []
    numbers = found[FIELD] if isinstance(found, dict) and list(found) == [FIELD] else None
    return numbers if isinstance(numbers, list) and all(type(each) is int for each in numbers) else []
