"""Settings of a teacher that is asked over the network (`teacher.api.*`, of teacher.name=api alone)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from ...core.settings import (
    Address,
    Natural,
    NotNegative,
    Positive,
    PositiveInteger,
    Rule,
    Settings,
    Several,
    ShareOrNone,
    Text,
    UserPath,
    Words,
    YesNo,
    setting,
)

VariableName = Annotated[Text, Field(pattern=r"^[A-Za-z_]\w{0,99}$"), Words("a name of letters, digits and _")]
Fields = Annotated[dict[str, Any], Words("a group of keys")]


COUNTED = {"max_tokens", "max_completion_tokens", "n", "best_of", "model", "messages", "stream"}  # not for `more`


class ApiSettings(Settings):
    """A language model behind an OpenAI-compatible endpoint, which ranks the user encoder's candidates."""

    rules = (
        Rule(
            ("max_cost", "price_prompt", "price_completion"),
            lambda s: s.max_cost is not None and s.price_prompt == 0 and s.price_completion == 0,
            "{at}max_cost needs {at}price_prompt and {at}price_completion, of which one is above 0",
        ),
        Rule(
            ("more",),
            lambda s: bool(COUNTED & s.more.keys()),
            "{at}more must not say how long an answer is, how many there are or who is asked: {at}answer_tokens and "
            "{at}model do",
        ),
    )
    base_url: Address = setting(  # the model's name decides what is answered, not where it runs
        "http://localhost:8000/v1", "the endpoint's address, up to its /v1", changes_result=False
    )
    model: Text | None = setting(None, "the model's name at the endpoint; to be told where teacher.name=api")
    key_variable: VariableName | None = setting(
        "OPENAI_API_KEY",
        "environment variable that holds the key, which is written nowhere; null: the endpoint wants none",
        changes_result=False,
    )
    candidates: Several = setting(20, "the user encoder's best items, which the model ranks; teacher.export.k at most")
    title_characters: PositiveInteger = setting(120, "the most characters of a title in a question")
    answer: Literal["line", "json_schema"] = setting(
        "line", "line: numbers on one line; json_schema: an object, by response_format, where the endpoint has that"
    )
    temperature: NotNegative | None = setting(0.0, "of the answers; null: not sent")
    answer_tokens: PositiveInteger = setting(256, "the most tokens of an answer; a model that reasons needs more")
    answer_tokens_field: Literal["max_tokens", "max_completion_tokens"] = setting(
        "max_tokens", "what the endpoint calls that", changes_result=False
    )
    more: Fields = setting({}, "further fields of a request, as the endpoint has them, e.g. {reasoning_effort: low}")
    retries: Natural = setting(2, "times that a question is asked again whose answer is no ranking")
    max_refused: ShareOrNone = setting(
        0.05,
        "largest share of questions that may stay without a ranking (the user encoder's order stands in for it)",
        changes_result=False,
    )
    attempts: PositiveInteger = setting(
        6,
        "times that a request is sent which finds no connection, no time (429) or a fault (5xx)",
        changes_result=False,
    )
    timeout: Positive = setting(120, "seconds that an answer may take", changes_result=False)
    concurrency: PositiveInteger = setting(8, "requests under way at once", changes_result=False)
    answers: UserPath | None = setting(
        None, "SQLite file of all answers; null: api_answers.sqlite in paths.teacher_outputs_dir", changes_result=False
    )
    max_tokens_total: PositiveInteger | None = setting(
        None, "the most tokens, read and written, that the questions of one export may take; null: no limit",
        changes_result=False,
    )  # fmt: skip
    max_cost: Positive | None = setting(
        None, "the most that the questions of one export may cost, at the prices below; null: no limit",
        changes_result=False,
    )  # fmt: skip
    price_prompt: NotNegative = setting(0.0, "of a million tokens that the model reads", changes_result=False)
    price_completion: NotNegative = setting(0.0, "of a million tokens that it writes", changes_result=False)
    characters_per_token: Positive = setting(
        4.0, "of questions, for the estimate of dry_run=true alone", changes_result=False
    )
    evaluate: YesNo = setting(
        False,
        "true: it also ranks the test users, a question for each, with a budget of their own",
        changes_result=False,
    )
