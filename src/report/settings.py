"""The report's settings (`report.*`)."""

from typing import Annotated

from ..core.settings import NotNegative, Settings, UserPath, Words, setting

Folders = Annotated[list[UserPath], Words("a list of folders")]


class ReportSettings(Settings):
    """`report.html` and `report.md` of a run, and `run_report`."""

    runs: Folders = setting(
        [],
        "run_report: folders of runs, result/result_<time>; several are put side by side; none: the newest run",
        changes_result=False,
    )
    price_per_million_tokens: NotNegative | None = setting(
        None,
        "what a million tokens that the language model reads cost, in whatever currency; null: no money is told",
        changes_result=False,
    )
