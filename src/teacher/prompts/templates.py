"""The texts of prompts, one file each."""

from pathlib import Path

from ...core.errors import UserError


def read_template(folder: Path, name: str, objective: str) -> str:
    """Returns the template of an objective: for "ranking" the text of `<folder>/<name>.txt`, for "generation" that of
    `<folder>/generation/<name>.txt`, a template in each line, of which the first is for evaluation.

    Raises:
        UserError: There is no such template.
    """
    here = folder / "generation" if objective == "generation" else folder
    path = here / f"{name}.txt"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in here.glob("*.txt")))
        raise UserError(f"dataset.prompt={name} has no template {path}: write one or use one of {there}.")
    return path.read_text(encoding="utf-8")
