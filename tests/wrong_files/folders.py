"""Folders of ours or of others: teacher outputs, prepared datasets, students, teachers."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from src.core.artefact import MANIFEST
from src.data.dataset import Dataset
from src.distill.data_bridge import USER_STATES, load_teacher_outputs
from src.exp.program.config import compose_settings
from src.student.store import load_student, save_student
from src.teacher.factory import create_teacher
from src.teacher.gated_model import GatedLanguageModel
from src.teacher.settings import TeacherSettings
from src.teacher.store import load_trained, save_trained
from tests.distill.outputs import embeddings_of, make_bare, ranking_of, write_outputs
from tests.student.students import architecture, student
from tests.teacher.teachers import TEMPLATE
from tests.worlds import tiny_dataset
from tests.wrong_files.cases import (
    BOM,
    DAMAGED,
    SAME,
    Case,
    Kind,
    Spoil,
    changed,
    dangling,
    folder_instead,
    gone,
    linked,
    put,
)

WORLD = tiny_dataset()
TRAIN = WORLD.examples["train"].example_id
ASKED = TRAIN[[7, 2, -1, 11]]


def cases() -> Iterator[Case]:
    yield from teacher_outputs()
    yield from bare_outputs()
    yield from prepared_datasets()
    yield from students()
    yield from teachers()


def damaged(kind: Kind, name: str, refused: str, missing: str, *but: str) -> Iterator[Case]:
    """What is wrong with any file that is no text."""
    for fault, change in DAMAGED.items():
        if fault not in but:
            yield Case(kind, f"{name}, {fault}", changed(name, change), refused)
    for fault, spoil in {"is gone": gone, "a folder instead": folder_instead, "a dangling link": dangling}.items():
        yield Case(kind, f"{name}, {fault}", spoil(name), missing)
    yield Case(kind, f"{name}, a link to it", linked(name))


TEXTUAL = tuple(fault for fault in DAMAGED if fault.startswith(("old Mac", "without its last")))


def manifests(kind: Kind, keys: dict[str, str], no_manifest: str) -> Iterator[Case]:
    """What is wrong with a manifest: damaged, no JSON, no keys, keys that are missing."""
    yield from damaged(kind, MANIFEST, MANIFEST, no_manifest, *TEXTUAL, "one long line")
    for fault, content in {
        "a list": "[]", "a number": "3", "null": "null", "cut behind a comma": '{"kind": "student",', "a text": '"x"',
        "single quotes": "{'kind': 'student'}", "a comment": '// ours\n{"kind": 1}', "two of them": "{}{}",
    }.items():  # fmt: skip
        yield Case(kind, f"{MANIFEST}, {fault}", put(MANIFEST, content), MANIFEST)
    yield Case(kind, f"{MANIFEST}, brackets without end", put(MANIFEST, "[" * 100_000), MANIFEST)
    yield Case(kind, f"{MANIFEST}, latin-1", put(MANIFEST, '{"kind": "é"}'.encode("latin-1")), MANIFEST)
    yield Case(kind, f"{MANIFEST}, byte order mark", changed(MANIFEST, lambda content: BOM + content), MANIFEST)
    yield Case(kind, f"{MANIFEST}, Windows' line ends", changed(MANIFEST, SAME["Windows' line ends"]))
    for key, said in keys.items():
        yield Case(kind, f"{MANIFEST}, without {key}", with_manifest(lambda of, key=key: of.pop(key)), said)


def with_manifest(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return spoil


def with_tensors(name: str, change: Callable[[dict[str, Tensor]], object]) -> Spoil:
    """Changes a safetensors file in place."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / name)
        change(tensors)
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)

    return spoil


# --- teacher outputs


def _read_outputs(folder: Path, direction: str | None = None) -> list[Any]:
    outputs = load_teacher_outputs(folder, WORLD, direction)
    states = None if outputs.user_states is None else outputs.user_states.tolist()
    rows = [outputs.candidates[row].tolist() for row in outputs.row_of_example[TRAIN] if row >= 0]
    distance = [[round(value, 5) for value in row] for row in outputs.distance.tolist()]
    return [outputs.item_embeddings.tolist(), rows, distance, states]


def _outputs(folder: Path) -> None:
    write_outputs(folder, WORLD, ASKED, *ranking_of(4, 15))
    save_file({"user_states": torch.ones(4, 2).half()}, folder / USER_STATES)


def _bare(folder: Path) -> None:
    write_outputs(folder, WORLD, TRAIN, *ranking_of(len(TRAIN), 15))
    make_bare(folder)


OUTPUTS = Kind("teacher outputs, ours", _outputs, _read_outputs)
BARE = Kind("teacher outputs, anyone's", _bare, lambda folder: _read_outputs(folder, "higher"))


def teacher_outputs() -> Iterator[Case]:
    direction = "does not say whether a higher or a lower score is better"
    yield from manifests(OUTPUTS, {"score_direction": direction}, direction)
    for value in ("up", 1, None, ["higher"], True):
        spoil = with_manifest(lambda of, value=value: of.update(score_direction=value))
        yield Case(OUTPUTS, f"{MANIFEST}, score_direction {value!r}", spoil, direction)
    wrong_way = with_manifest(lambda of: of.update(score_direction="lower"))
    yield Case(OUTPUTS, f"{MANIFEST}, the other direction", wrong_way, "set distill.score_direction=higher")
    for value in ("another", 7, None, ""):
        spoil = with_manifest(lambda of, value=value: of.update(dataset_fingerprint=value))
        yield Case(OUTPUTS, f"{MANIFEST}, of dataset {value!r}", spoil, "were made for dataset")
    yield from embeddings(OUTPUTS)
    name = "rankings.safetensors"
    # without it the text files are read, which have a line for each example
    yield from damaged(OUTPUTS, name, name, "has 4 lines for", *TEXTUAL)
    for key in ("example_ids", "items", "scores"):
        yield Case(
            OUTPUTS, f"{name}, without {key}", with_tensors(name, lambda of, key=key: of.pop(key)), f"lacks {key}"
        )
    changes: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
        "ids that are fractions": (lambda of: of.update(example_ids=of["example_ids"] + 0.5), "no whole numbers"),
        "items that are fractions": (lambda of: of.update(items=of["items"] + 0.5), "no whole numbers"),
        "items that are yes or no": (lambda of: of.update(items=of["items"] > 3), "no whole numbers"),
        "scores that are whole": (lambda of: of.update(scores=of["scores"].long()), "no real numbers"),
        "scores that are complex": (lambda of: of.update(scores=of["scores"] + 1j), "no real numbers"),
        "one column in place of a table": (lambda of: of.update(items=of["items"][:, 0]), "scores"),
        "tables without columns": (
            lambda of: of.update(items=of["items"][:, :0], scores=of["scores"][:, :0]), "has no items"
        ),
        "no rows": (lambda of: of.update({key: value[:0] for key, value in of.items()}), "has no items"),
        "ids as a table": (lambda of: of.update(example_ids=of["example_ids"].unsqueeze(1)), "rows of items"),
        "an id too few": (lambda of: of.update(example_ids=of["example_ids"][1:]), "3 example ids"),
        "a score too few": (lambda of: of.update(scores=of["scores"][:, 1:]), "scores"),
        "a negative item": (lambda of: of["items"][0].fill_(-1), "items outside 0..14"),
        "a huge item": (lambda of: of["items"][0].fill_(2**62), "items outside 0..14"),
        "items counted from 1": (lambda of: of["items"].add_(1).clamp_(max=15)[0].fill_(15), "items outside 0..14"),
        "a negative example": (lambda of: of["example_ids"][:1].fill_(-1), "no train example"),
        "a huge example": (lambda of: of["example_ids"][:1].fill_(2**40), "no train example"),
        "an example twice": (lambda of: of["example_ids"][:2].fill_(int(TRAIN[0])), "names an example twice"),
        "an item twice": (lambda of: of["items"][1].fill_(3), "names an item twice"),
        "a score that is no number": (lambda of: of["scores"][0].fill_(torch.nan), "not finite"),
        "an infinite score": (lambda of: of["scores"][2].fill_(torch.inf), "not finite"),
        "worst first": (lambda of: of.update(scores=of["scores"].flip(1)), "best item first"),
    }  # fmt: skip
    for fault, (change, said) in changes.items():
        yield Case(OUTPUTS, f"{name}, {fault}", with_tensors(name, change), said)
    same: dict[str, Callable[[dict[str, Tensor]], object]] = {
        "ids of 32 bits": lambda of: of.update(example_ids=of["example_ids"].int(), items=of["items"].int()),
        "scores of 64 bits": lambda of: of.update(scores=of["scores"].double()),
        "a tensor more": lambda of: of.update(more=torch.ones(2)),
    }
    for fault, change in same.items():
        yield Case(OUTPUTS, f"{name}, {fault}", with_tensors(name, change))
    for fault, change in DAMAGED.items():
        if fault not in TEXTUAL:
            yield Case(OUTPUTS, f"{USER_STATES}, {fault}", changed(USER_STATES, change), USER_STATES)
    states_alone = Kind(OUTPUTS.name, _outputs, lambda folder: _read_outputs(folder)[3])
    yield Case(states_alone, f"{USER_STATES}, is gone", gone(USER_STATES), None, None)
    for fault, states in {
        "a row too few": torch.ones(3, 2).half(), "one row alone": torch.ones(2), "no number": torch.ones(4, 2) / 0,
        "whole numbers": torch.ones(4, 2).long(),
    }.items():  # fmt: skip
        spoil = with_tensors(USER_STATES, lambda of, states=states: of.update(user_states=states))
        yield Case(OUTPUTS, f"{USER_STATES}, {fault}", spoil, USER_STATES)
    renamed = with_tensors(USER_STATES, lambda of: of.update(states=of.pop("user_states")))
    yield Case(OUTPUTS, f"{USER_STATES}, under another name", renamed, "lacks user_states")


class _Opaque:
    """Something that no reader of weights alone takes."""


def embeddings(kind: Kind) -> Iterator[Case]:
    name = "all_embeddings.pt"
    said = f"{name} is no tensor saved by PyTorch, or is cut short"
    yield from damaged(kind, name, said, "lack", *TEXTUAL, "NUL bytes behind")
    yield Case(kind, f"{name}, NUL bytes behind", changed(name, DAMAGED["NUL bytes behind"]))
    right = embeddings_of(15)
    for fault, value, words in (
        ("a table in a dict", {"weight": right}, "must hold one tensor"),
        ("a list", right.tolist(), "must hold one tensor"),
        ("None", None, "must hold one tensor"),
        ("a NumPy array", np.ones((15, 4)), name),
        ("an object", _Opaque(), said),
        ("a row too few", right[:-1], "a row for each of the 15 items"),
        ("a row too many, for padding", torch.cat([right[:1] * 0, right]), "a row for each of the 15 items"),
        ("one row alone", right[:, 0], "must hold one tensor"),
        ("no columns", right[:, :0], "dense tensor of floating-point numbers"),
        ("whole numbers", right.long(), "dense tensor of floating-point numbers"),
        ("complex numbers", right + 1j, "dense tensor of floating-point numbers"),
        ("yes and no", right > 0, "dense tensor of floating-point numbers"),
        ("sparse", right.to_sparse(), "dense tensor of floating-point numbers"),
        ("no number", right / 0, "not finite"),
        ("numbers beyond float32", right.double() * 1e300, "not finite"),
    ):
        yield Case(kind, f"{name}, {fault}", lambda folder, value=value: torch.save(value, folder / name), words)
    for fault, value in (
        ("64 bits", right.double()),
        ("a parameter", torch.nn.Parameter(right)),
        ("columns first", right.T.contiguous().T),
    ):
        yield Case(kind, f"{name}, {fault}", lambda folder, value=value: torch.save(value, folder / name))
    old = lambda folder: torch.save(right, folder / name, _use_new_zipfile_serialization=False)  # noqa: E731
    yield Case(kind, f"{name}, the format of old PyTorch", old)
    yield Case(kind, f"{name}, tensors of safetensors", lambda folder: save_file({"a": right}, folder / name), said)


def bare_outputs() -> Iterator[Case]:
    yield from embeddings(BARE)
    for name, cell in {"myrank_train.txt": "whole", "confidence_train.txt": "real"}.items():
        for fault, change in DAMAGED.items():
            if fault.startswith("old Mac"):  # these are read as line ends; without the last one they end torn
                continue
            said = "(1, 1)" if (cell, fault) == ("real", "one long line") else name
            yield Case(BARE, f"{name}, {fault}", changed(name, change), said)
        for fault, change in SAME.items():
            yield Case(BARE, f"{name}, {fault}", changed(name, change))
        yield Case(BARE, f"{name}, a link to it", linked(name))
        for fault, spoil in {"is gone": gone, "a folder instead": folder_instead, "a dangling link": dangling}.items():
            yield Case(BARE, f"{name}, {fault}", spoil(name), "lack ")
        yield Case(
            BARE, f"{name}, spaces around", changed(name, lambda content: content.replace(b"\n", b"  \n  ")[:-2])
        )
        yield Case(BARE, f"{name}, tabs", changed(name, lambda content: content.replace(b" ", b"\t")))
        wrong = ["x", "nan" if cell == "whole" else "none", "1_0", "0x1", '"1"', "1,5", "٣", "#1", "-", "1e400x"]
        wrong += ["1.5", "1e2", "9" * 40, "inf"] if cell == "whole" else []
        for value in wrong:
            yield Case(BARE, f"{name}, a cell {value[:12]!r}", _cell(name, value), f"{name} is not a table of numbers")
        outside = {"-1": "items outside", "15": "items outside", "9999999": "items outside"}
        infinite = {value: "not finite" for value in ("nan", "inf", "-inf", "1e39", "-1e400")}
        for value, said in (outside if cell == "whole" else infinite).items():
            yield Case(BARE, f"{name}, a cell {value!r}", _cell(name, value), said)
        lines: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
            "a line too few": (lambda of: of[1:], "has"),
            "a line too many": (lambda of: [*of, of[0]], "has"),
            "a comment in place of a line": (lambda of: [b"# 1 2 3\n", *of[1:]], "not a table"),
            "an empty line in place of a line": (lambda of: [b"\n", *of[1:]], "has"),
            "a header": (lambda of: [b"a b c\n", *of], "not a table"),
            "a column too few": (lambda of: [line.split(b" ", 1)[1] for line in of], "scores"),
            "a cell too few": (lambda of: [of[0].split(b" ", 1)[1], *of[1:]], "not a table"),
            "a thousand columns": (lambda of: [b"1 " * 999 + b"1\n" for _ in of], "scores"),
        }
        for fault, (change, said) in lines.items():
            spoil = changed(name, lambda content, change=change: b"".join(change(content.splitlines(keepends=True))))
            yield Case(BARE, f"{name}, {fault}", spoil, said)
    swapped = lambda f: (f / "myrank_train.txt").write_bytes((f / "confidence_train.txt").read_bytes())  # noqa: E731
    yield Case(BARE, "scores in place of items", swapped, "myrank_train.txt is not a table of numbers")
    both = lambda f: (f / "confidence_train.txt").write_bytes((f / "myrank_train.txt").read_bytes())  # noqa: E731
    yield Case(
        Kind(BARE.name, BARE.make, lambda f: _read_outputs(f, None)), "no direction", both, "does not say whether"
    )


def _cell(name: str, value: str) -> Spoil:
    """Replaces the first cell."""
    return changed(name, lambda content: value.encode() + b" " + content.split(b" ", 1)[1])


# --- prepared datasets


@cache
def _prepared_bytes() -> dict[str, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        folder = tiny_dataset(folder=Path(temporary)).folder
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _prepared(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, content in _prepared_bytes().items():
        (folder / name).write_bytes(content)


def _read_prepared(folder: Path) -> list[Any]:
    dataset = Dataset.load(folder)
    ends = [examples.end.tolist() for examples in dataset.examples.values()]
    return [dataset.item_log.tolist(), dataset.offsets.tolist(), dataset.catalogue.titles, ends, dataset.fingerprint]


PREPARED = Kind("prepared dataset", _prepared, _read_prepared)


def prepared_datasets() -> Iterator[Case]:
    yield from manifests(PREPARED, {"name": "lacks name", "fingerprint": "lacks fingerprint"}, "is no artefact")
    columns = {
        "users": ("num_interactions", "num_train"),
        "items": ("raw_id", "title", "text"),
        "interactions": ("item",),
        "examples_train": ("example_id", "user", "end"),
        "examples_test": ("example_id", "user", "end"),
    }
    for table, names in columns.items():
        name = f"{table}.parquet"
        yield from damaged(PREPARED, name, name, name, *TEXTUAL[1:])
        for column in names:
            spoil = with_table(name, lambda frame, column=column: frame.drop(column))
            yield Case(PREPARED, f"{name}, without {column}", spoil, name)
        yield Case(PREPARED, f"{name}, a column more", with_table(name, lambda f: f.with_columns(more=pl.lit(1))))
    apart = "do not go together"
    changes: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = {
        "users too few": ("users", lambda f: f[1:], apart),
        "users in another order": ("users", lambda f: f.reverse(), apart),
        "more of training than there is": ("users", lambda f: f.with_columns(num_train=99), apart),
        "items too few": ("items", lambda f: f[:-1], apart),
        "an interaction too few": ("interactions", lambda f: f[:-1], apart),
        "an interaction too many": ("interactions", lambda f: pl.concat([f, f[:1]]), apart),
        "item 0, which is padding": ("interactions", lambda f: f.with_columns(item=0), apart),
        "negative items": ("interactions", lambda f: f.with_columns(item=-pl.col("item")), apart),
        "an example of no user": ("examples_val", lambda f: f.with_columns(user=pl.col("user") + 5), apart),
        "an example of user -1": ("examples_val", lambda f: f.with_columns(user=pl.col("user") - 1), apart),
        "an example without a history": ("examples_train", lambda f: f.with_columns(end=0), apart),
        "an example behind the end": ("examples_test", lambda f: f.with_columns(end=pl.col("end") + 1), apart),
        "an item that is a word": ("interactions", lambda f: f.with_columns(item=pl.lit("a")), "interactions.parquet"),
        "an item that is missing": ("interactions", lambda f: f.with_columns(item=None), "interactions.parquet"),
        "a title that is missing": ("items", lambda f: f.with_columns(title=None), "items.parquet"),
        "titles that are numbers": ("items", lambda f: f.with_columns(title=1), "items.parquet"),
        "an end that is a fraction": (
            "examples_test",
            lambda f: f.with_columns(end=pl.col("end") - 0.5),
            "examples_test",
        ),
    }
    for fault, (table, change, said) in changes.items():
        yield Case(PREPARED, f"{table}.parquet, {fault}", with_table(f"{table}.parquet", change), said)


def with_table(name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Spoil:
    return lambda folder: change(pl.read_parquet((folder / name).read_bytes())).write_parquet(folder / name)


# --- students


def _student(folder: Path) -> None:
    about = {"dataset_fingerprint": WORLD.fingerprint}
    save_student(folder, student("gru4rec"), "gru4rec", architecture("gru4rec"), about)


def _read_student(folder: Path) -> dict[str, float]:
    return {name: value.sum().item() for name, value in load_student(folder, WORLD).state_dict().items()}


STUDENT = Kind("student", _student, _read_student)
WEIGHTS = "model.safetensors"


def students() -> Iterator[Case]:
    keys = {"kind": "holds no student", "name": "lacks name", "architecture": "lacks architecture"}
    keys["dataset_fingerprint"] = "lacks dataset_fingerprint"
    yield from manifests(STUDENT, keys, "is no artefact")
    for key, value, said in (
        ("kind", "teacher", "holds no student but teacher"),
        ("dataset_fingerprint", "another", "was trained on dataset another"),
        ("name", "sasrec", "describes no student"),
        ("name", "bert4rec", "is not known"),
        ("name", "no.such.module:Name", "cannot be imported"),
        ("name", None, "describes no student"),
        ("name", ["gru4rec"], "describes no student"),
        ("architecture", {}, "hidden_size is missing"),
        ("architecture", [], "describes no student"),
        ("architecture", None, "describes no student"),
        ("architecture", {**architecture("gru4rec"), "hidden_size": "8"}, "hidden_size=8 must be"),
        ("architecture", {**architecture("gru4rec"), "hidden_size": -8}, "hidden_size=-8 must be"),
        ("architecture", {**architecture("gru4rec"), "heads": 1}, "heads is not known"),
        ("architecture", {**architecture("gru4rec"), "num_layers": 3}, "gru.weight_ih_l1 as None"),
        ("architecture", {**architecture("gru4rec"), "hidden_size": 32}, WEIGHTS),
    ):
        spoil = with_manifest(lambda of, key=key, value=value: of.update({key: value}))
        yield Case(STUDENT, f"{MANIFEST}, {key} {str(value)[:80]}", spoil, said)
    yield from weights(STUDENT, WEIGHTS)
    other = lambda folder: save_file(student("sasrec").state_dict(), folder / WEIGHTS)  # noqa: E731
    yield Case(STUDENT, f"{WEIGHTS}, another student's", other, WEIGHTS)


def weights(kind: Kind, name: str) -> Iterator[Case]:
    yield from damaged(kind, name, name, name, *TEXTUAL)
    changes: dict[str, Callable[[dict[str, Tensor]], object]] = {
        "a tensor missing": lambda of: of.pop(min(of)),
        "a tensor more": lambda of: of.update(more=torch.ones(2)),
        "no tensors": lambda of: of.clear(),
        "other names": lambda of: [of.update({f"module.{name}": of.pop(name)}) for name in list(of)],
        "a row more": lambda of: of.update({min(of): torch.cat([of[min(of)], of[min(of)][:1]])}),
        "a number that is none": lambda of: of[max(of)].fill_(torch.nan),
    }
    for fault, change in changes.items():
        yield Case(kind, f"{name}, {fault}", with_tensors(name, change), "")


# --- teachers


@cache
def _teacher_settings() -> TeacherSettings:
    return compose_settings("teacher/llm=tiny_random").teacher


@cache
def _teacher() -> GatedLanguageModel:
    torch.manual_seed(0)
    encoder = student("sasrec")
    return create_teacher(_teacher_settings(), WORLD, encoder, TEMPLATE, Path("absent"))


def _saved_teacher(folder: Path) -> None:
    about = {"dataset_fingerprint": WORLD.fingerprint, "settings": _teacher_settings().plain()}
    save_trained(folder, _teacher(), about)


def _read_teacher(folder: Path) -> dict[str, float]:
    before = {name: value.clone() for name, value in _teacher().trained_state().items()}
    loaded = load_trained(lambda _: _teacher(), folder, WORLD, _teacher_settings())
    found = {name: value.sum().item() for name, value in loaded.trained_state().items()}
    loaded.load_state_dict(before, strict=False)
    return found


TEACHER = Kind("teacher", _saved_teacher, _read_teacher)


def teachers() -> Iterator[Case]:
    keys = {"kind": "holds no teacher", "settings": "lacks settings"}
    keys["dataset_fingerprint"] = "lacks dataset_fingerprint"
    yield from manifests(TEACHER, keys, "is no artefact")
    for key, value, said in (
        ("kind", "student", "holds no teacher but student"),
        ("dataset_fingerprint", "another", "dataset_fingerprint another instead of"),
        ("settings", {}, "describes no teacher"),
        ("settings", [], "describes no teacher"),
        ("settings", None, "describes no teacher"),
        ("settings", "x", "describes no teacher"),
        ("settings", {"llm": 3}, "describes no teacher"),
        ("settings", {"llm": {"name": "tiny_random", "path": None}}, "describes no teacher"),
    ):
        spoil = with_manifest(lambda of, key=key, value=value: of.update({key: value}))
        yield Case(TEACHER, f"{MANIFEST}, {key} {str(value)[:80]}", spoil, said)
    lora = with_manifest(lambda of: of["settings"]["lora"].update(r=4))
    yield Case(TEACHER, f"{MANIFEST}, adapters of another rank", lora, "lora")
    yield from weights(TEACHER, "trained.safetensors")
