"""What is exported, in which layout, and where to (`export.*`)."""

from typing import Literal

from ...core.settings import PositiveInteger, Rule, Settings, UserPath, YesNo, setting

LENGTHS = {"recbole": 50, "dllm2rec": 10}  # RecBole's default; what DLLM2Rec's main.py is written for


class ExportSettings(Settings):
    """`run_export_data`: the prepared dataset for another program."""

    rules = (
        Rule(
            ("layout", "teacher"),
            lambda s: s.teacher and s.layout != "dllm2rec",
            "{at}teacher=true needs {at}layout=dllm2rec: RecBole reads no teacher outputs",
        ),
    )
    layout: Literal["recbole", "dllm2rec"] = setting("recbole", "RecBole's atomic files, or DLLM2Rec's frames")
    out: UserPath | None = setting(None, "folder to write below; null = export/ in the run directory")
    history_length: PositiveInteger | None = setting(
        None, "newest items of a history that an example keeps; null = 50 for recbole, 10 for dllm2rec"
    )
    teacher: YesNo = setting(False, "dllm2rec: the teacher outputs, too, confidence as a distance")
    teacher_width: PositiveInteger | None = setting(
        4096,
        "numbers of a teacher's item embedding, filled up with zeros (main.py takes 4096); null = as many as it has",
    )

    @property
    def length(self) -> int:
        """Items of a history that an example keeps."""
        return self.history_length or LENGTHS[self.layout]
