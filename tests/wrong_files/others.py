"""Metrics files, prompt templates, language models' folders."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertModel

from src.evaluation.metrics_files import read_models
from src.teacher.generation.prompt import ChoicePromptBuilder
from src.teacher.language_model.loading import check_language_model, load_language_model
from src.teacher.language_model.tiny import tiny_random, tiny_random_causal
from src.teacher.prompts.prompt import PromptBuilder
from src.teacher.prompts.templates import read_template
from src.teacher.settings import LanguageModelSettings
from tests.wrong_files.cases import BOM, DAMAGED, SAME, Case, Kind, Spoil, changed, dangling, folder_instead, gone, put
from tests.wrong_files.folders import TEXTUAL, damaged, with_tensors


def cases() -> Iterator[Case]:
    yield from metrics_files()
    yield from templates()
    yield from language_models()


# --- metrics files

FILE = {
    "model": "Baseline (sasrec)",
    "dataset_fingerprint": "0123",
    "num_items": 9,
    "split": "test",
    "filter_seen": False,
    "example_id": [4, 5],
    "user": [0, 1],
    "rank": [1, 3],
}
THEIRS = "distilled.json"


def _metrics(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "baseline.json").write_text(json.dumps(FILE) + "\n")
    (folder / THEIRS).write_text(json.dumps({**FILE, "model": "Distilled", "rank": [2, 9]}) + "\n")


def _read_metrics(folder: Path) -> list[Any]:
    ranked = read_models([folder / "baseline.json", folder / THEIRS], None)
    models = [(model.name, [rank.tolist() for rank in model.ranks]) for model in ranked.models]
    return [ranked.num_items, ranked.user.tolist(), *models]


METRICS = Kind("metrics file", _metrics, _read_metrics)


def metrics_files() -> Iterator[Case]:
    fine = ("without its last byte", "old Mac's line ends", "old Mac's line ends, a line break behind")
    for fault, change in DAMAGED.items():
        if fault not in fine and fault != "one long line":
            yield Case(METRICS, fault, changed(THEIRS, change), THEIRS)
    for fault in fine:
        yield Case(METRICS, fault, changed(THEIRS, DAMAGED[fault]))
    yield Case(METRICS, "Windows' line ends", changed(THEIRS, SAME["Windows' line ends"]))
    yield Case(METRICS, "byte order mark", changed(THEIRS, lambda content: BOM + content), THEIRS)
    for fault, spoil in {"is gone": gone, "a folder instead": folder_instead, "a dangling link": dangling}.items():
        yield Case(METRICS, fault, spoil(THEIRS), THEIRS)
    for fault, content in {
        "a list": "[1]", "null": "null", "a number": "1", "digits without end": "1" * 5000, "brackets": "[" * 100_000,
        "latin-1": b'{"model": "\xe9"}', "a table of CSV": "model,rank\na,1\n", "YAML": "model: a\nrank: [1]\n",
    }.items():  # fmt: skip
        yield Case(METRICS, fault, put(THEIRS, content), THEIRS)
    for key in FILE:
        yield Case(METRICS, f"without {key}", _with({key: ...}), f"lacks {key}")
    values: dict[str, list[Any]] = {
        "model": [1, None, ["a"], True],
        "dataset_fingerprint": [1, None, "other"],
        "num_items": ["9", 9.5, 0, -9, None, [9], 10, True],
        "split": [1, None, "val"],
        "filter_seen": [1, "false", None, True],
        "example_id": [None, 4, [4], [4, 5, 6], ["4", "5"], [4, 5.5], [5, 4], {"4": 5}, [4, None], []],
        "user": [None, 4, [0], [0, 1, 2], ["0", "1"], [0, 1.5], [1, 0], {"0": 1}, [0, None], []],
        "training": [4, "x", [], {}, {"of": "student"}, {"of": 1, "seed": 0, "from": {}}, {"of": "student", "seed": "0",
                     "from": {}}, {"of": "student", "seed": 0, "from": {"teacher": 1}}],
        "rank": [None, 4, [1], [1, 2, 3], ["1", "2"], [1, 1.5], [0, 1], [-1, 1], [1, 10], [1, None], [[1], [2]], [],
                 [True, True], [1, 10**30], {"a": 1}],
    }  # fmt: skip
    for key, wrong in values.items():
        for value in wrong:
            yield Case(METRICS, f"{key} {json.dumps(value)[:40]}", _with({key: value}), THEIRS)
    for value in ("NaN", "Infinity", "-Infinity", "1e400"):
        written = changed(THEIRS, lambda content, value=value: content.replace(b"[2, 9]", f"[2, {value}]".encode()))
        yield Case(METRICS, f"a rank that is {value}", written, THEIRS)
    same_name = _with({"model": FILE["model"]})
    yield Case(METRICS, "two models of one name", same_name, "give as many different names")
    twice = Kind(METRICS.name, _metrics, lambda f: read_models([f / "baseline.json", [f / THEIRS, f / THEIRS]], None))
    yield Case(twice, "one file as two seeds", lambda folder: None, "would count twice")
    yield Case(METRICS, "keys of its own", _with({"mine": [1]}))
    nobody = json.dumps({**FILE, "example_id": [], "user": [], "rank": []})
    yield Case(
        METRICS,
        "no users",
        lambda f: [(f / name).write_text(nobody) for name in (THEIRS, "baseline.json")],
        "ranks from 1",
    )


def _with(changes: dict[str, Any]) -> Spoil:
    """Changes keys of the second file; `...` takes one out."""

    def spoil(folder: Path) -> None:
        file = {**json.loads((folder / THEIRS).read_text()), **changes}
        (folder / THEIRS).write_text(json.dumps({key: value for key, value in file.items() if value is not ...}))

    return spoil


# --- prompt templates

RANKING = "Seen: [HistoryHere].\nWhich is next?\n"
GENERATION = "Seen [HistoryHere]. Choose of [CansHere]: \nOf [HistoryHere] and [CansHere] say: \n"
TITLES = ["Alien", "Brazil", "Charade"]


def _templates(folder: Path) -> None:
    (folder / "generation").mkdir(parents=True)
    (folder / "movies.txt").write_text(RANKING)
    (folder / "generation/movies.txt").write_text(GENERATION)


def _ranking_prompt(folder: Path) -> list[int]:
    builder = PromptBuilder(tiny_random()[1], read_template(folder, "movies", "ranking"), TITLES, 3, 8, 900)
    return builder.build(torch.tensor([[2, 1, 3]])).token_ids.tolist()


def _generation_prompt(folder: Path) -> list[list[int]]:
    templates = read_template(folder, "movies", "generation").splitlines()
    builder = ChoicePromptBuilder(tiny_random_causal()[1], templates, TITLES, 3, 8, 900)
    return [builder.build(torch.tensor([[2]]), torch.tensor([[1, 3]]), n, False).token_ids.tolist() for n in (0, 1)]


RANKING_TEMPLATE = Kind("prompt template", _templates, _ranking_prompt)
GENERATION_TEMPLATE = Kind("prompt template, generation", _templates, _generation_prompt)


def templates() -> Iterator[Case]:
    for kind, name in ((RANKING_TEMPLATE, "movies.txt"), (GENERATION_TEMPLATE, "generation/movies.txt")):
        generation = kind is GENERATION_TEMPLATE
        readable = ("cut within a line", "without its last byte", "another thing, a page of the web", "one long line")
        for fault, change in DAMAGED.items():
            if fault not in readable and not fault.startswith("old Mac"):
                yield Case(kind, fault, changed(name, change), name)
        for fault in ("without its last byte", "old Mac's line ends"):
            yield Case(kind, fault, changed(name, DAMAGED[fault]))
        for fault in readable[2:]:
            yield Case(kind, fault, changed(name, DAMAGED[fault]), "must hold [HistoryHere]")
        for fault, change in SAME.items():
            yield Case(kind, fault, changed(name, change))
        for fault, spoil in {"is gone": gone, "a folder instead": folder_instead, "a dangling link": dangling}.items():
            yield Case(kind, fault, spoil(name), "dataset.prompt=movies has no template")
        yield Case(kind, "latin-1", changed(name, lambda content: "é".encode("latin-1") + content), "is not UTF-8 text")
        yield Case(kind, "spaces alone", put(name, " \n \n"), "is empty")
        for fault, new in {"no place": "x", "two places": "[HistoryHere] [HistoryHere]", "lower case": "[historyhere]",
                           "half a place": "[HistoryHere", "a space in it": "[History Here]"}.items():  # fmt: skip
            spoil = changed(name, lambda content, new=new: content.replace(b"[HistoryHere]", new.encode()))
            yield Case(kind, f"{fault} for the history", spoil, "must hold [HistoryHere]")
        if generation:
            for fault, new in {"no place": "x", "two places": "[CansHere] [CansHere]"}.items():
                spoil = changed(name, lambda content, new=new: content.replace(b"[CansHere]", new.encode()))
                yield Case(kind, f"{fault} for the candidates", spoil, "behind it [CansHere], each once")
            turned = put(name, "Of [CansHere] after [HistoryHere] say:\n")
            yield Case(kind, "the places turned round", turned, "behind it [CansHere], each once")
            within = changed(name, lambda content: content.replace(b"\n", b"\n\n", 1))
            yield Case(kind, "an empty line within", within, "must hold [HistoryHere]")


# --- language models


@cache
def _files() -> dict[str, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        model, tokenizer = tiny_random()
        BertModel(model.config, add_pooling_layer=True).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        return {path.name: path.read_bytes() for path in Path(temporary).iterdir()}


def _language_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, content in _files().items():
        (folder / name).write_bytes(content)


def _read_language_model(folder: Path) -> dict[str, Any]:
    llm = LanguageModelSettings(name="some/model", path=folder)
    _, positions = check_language_model(llm, folder, head=False)
    model, tokenizer = load_language_model(llm, folder, head=False)
    sums = {name: parameter.sum().item() for name, parameter in model.named_parameters()}
    return {"positions": positions, "ids": tokenizer("Amélie 羅").input_ids, **sums}


LANGUAGE_MODEL = Kind("language model", _language_model, _read_language_model)
JSON_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def language_models() -> Iterator[Case]:
    said = "language model some/model cannot be loaded from "
    other = "are not of one model"
    for name in JSON_FILES:
        without = other if name == "tokenizer_config.json" else said  # what it says is not known then
        skipped = (*TEXTUAL, "one long line")
        yield from damaged(LANGUAGE_MODEL, name, said, without, *skipped)
        for fault, content in {"a list": "[1]", "a text": '"x"', "null": "null", "latin-1": b'{"a": "\xe9"}'}.items():
            yield Case(LANGUAGE_MODEL, f"{name}, {fault}", put(name, content), said)
        yield Case(LANGUAGE_MODEL, f"{name}, no keys", put(name, "{}"), without)
        yield Case(LANGUAGE_MODEL, f"{name}, byte order mark", changed(name, lambda content: BOM + content), said)
        yield Case(LANGUAGE_MODEL, f"{name}, Windows' line ends", changed(name, SAME["Windows' line ends"]))
    weights = "model.safetensors"
    yield from damaged(LANGUAGE_MODEL, weights, said, said, *TEXTUAL)
    keys: dict[str, tuple[str, Any]] = {
        "a model type that nobody knows": ("model_type", "zzz"), "no model type": ("model_type", ...),
        "another model type": ("model_type", "gpt2"), "another width": ("hidden_size", 64),
        "a width that is a word": ("hidden_size", "wide"), "a negative width": ("hidden_size", -3),
        "a layer more": ("num_hidden_layers", 3), "a layer less": ("num_hidden_layers", 1),
        "heads that do not divide the width": ("num_attention_heads", 7),
        "other positions": ("max_position_embeddings", 9),
    }  # fmt: skip
    for fault, (key, value) in keys.items():
        yield Case(LANGUAGE_MODEL, f"config.json, {fault}", _config({key: value}), said)
    yield Case(LANGUAGE_MODEL, "config.json, fewer words than the tokenizer", _config({"vocab_size": 10}), other)
    tensors: dict[str, Callable[[dict[str, Tensor]], object]] = {
        "a tensor missing": lambda of: of.pop(min(of)),
        "no tensors": lambda of: of.clear(),
        "other names": lambda of: [of.update({f"module.{name}": of.pop(name)}) for name in list(of)],
        "a row less": lambda of: of.update({min(of): of[min(of)][1:]}),
    }
    for fault, change in tensors.items():
        yield Case(LANGUAGE_MODEL, f"{weights}, {fault}", _weights(change), said)
    without_pooler = _weights(lambda of: [of.pop(name) for name in list(of) if name.startswith("pooler")])
    yield Case(LANGUAGE_MODEL, f"{weights}, without the pooler, which is never read", without_pooler)
    yield Case(LANGUAGE_MODEL, f"{weights}, a tensor more", _weights(lambda of: of.update(more=torch.ones(1))))
    nowhere = Kind(LANGUAGE_MODEL.name, _language_model, lambda folder: _read_language_model(folder / "deeper"))
    yield Case(nowhere, "no such folder", lambda folder: None, said)
    a_file = Kind(LANGUAGE_MODEL.name, _language_model, lambda folder: _read_language_model(folder / "config.json"))
    yield Case(a_file, "a file in place of the folder", lambda folder: None, said)


def _config(changes: dict[str, Any]) -> Spoil:
    def spoil(folder: Path) -> None:
        config = {**json.loads((folder / "config.json").read_text()), **changes}
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))

    return spoil


def _weights(change: Callable[[dict[str, Tensor]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        with_tensors("model.safetensors", change)(folder)
        from safetensors.torch import load_file

        save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors", metadata={"format": "pt"})

    return spoil
