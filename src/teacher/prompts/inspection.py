"""What a language model is about to read, written out for people."""

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ...data.catalogue import Catalogue
from ...data.dataset import Dataset, Examples
from ...data.rows import TrainingWindows
from .prompt import MARKER_ID, PADDING_ID, PromptBatch, PromptBuilder, text_of
from .user_prompt import UserPromptBatch, UserPrompts


def described(
    dataset: Dataset,
    prompts: PromptBuilder,
    tokenizer: PreTrainedTokenizerBase,
    reading: str,
    number: int,
    history_length: int,
    draw: torch.Generator,
) -> Iterator[str]:
    """Yields paragraphs of train examples as the teacher reads them.

    Args:
        dataset: A prepared dataset.
        prompts, tokenizer: The teacher's.
        reading: "example" or "user" (`teacher.reading`).
        number: How many examples, or for "user" windows.
        history_length: The most items of a window.
        draw: Chooses them.
    """
    if reading == "user":
        windows = TrainingWindows(dataset, min(prompts.prompt_items, history_length))
        rows = torch.randperm(len(windows), generator=draw)[:number]
        return described_windows(dataset, windows, rows, UserPrompts(prompts), tokenizer)
    return described_examples(dataset, dataset.examples["train"].sample(number, draw), prompts, tokenizer)


def described_examples(
    dataset: Dataset, examples: Examples, prompts: PromptBuilder, tokenizer: PreTrainedTokenizerBase
) -> Iterator[str]:
    """Yields a paragraph for each example, all of one batch: its ids, its history and target by title, its prompt."""
    batch = dataset.batch(examples, int(examples.end.max()))
    prompt = prompts.build(batch.history)
    yield _padding(prompt)
    texts = decoded(prompt, tokenizer)
    for row, text in enumerate(texts):
        history = [item for item in batch.history[row].tolist() if item]
        yield "\n".join(
            [
                f"example {batch.example_id[row]}, user {examples.user[row]}",
                f"  history  {_named(history, dataset.catalogue)}",
                f"  target   {_named([int(batch.target[row])], dataset.catalogue)}",
                f"  prompt   {text}",
                f"  tokens   {int((prompt.token_ids[row] != PADDING_ID).sum())}",
            ]
        )


def described_windows(
    dataset: Dataset, windows: TrainingWindows, rows: Tensor, prompts: UserPrompts, tokenizer: PreTrainedTokenizerBase
) -> Iterator[str]:
    """Yields a paragraph for each window of `rows`, all of one batch: what is read, and the target at each marker."""
    batch = windows[rows]
    prompt = prompts.build(batch.history)
    yield _padding(prompt)
    for row, text in enumerate(decoded(prompt, tokenizer)):
        lines = [f"window {rows[row]}", f"  prompt   {text}"]
        for item, target, example in zip(batch.history[row], batch.target[row], batch.example_id[row], strict=True):
            if item:
                names = _named([int(item)], dataset.catalogue), _named([int(target)], dataset.catalogue)
                lines.append(f"  after {names[0]}: {names[1]} (example {example})")
        yield "\n".join([*lines, f"  tokens   {int((prompt.token_ids[row] != PADDING_ID).sum())}"])


def decoded(prompt: PromptBatch | UserPromptBatch, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Returns each prompt as text, the item of each marker written as `⟨item 12⟩`, padding left out."""
    items, texts = iter(prompt.marked_items.tolist()), []
    for row in prompt.token_ids.tolist():
        text = ""
        piece: list[int] = []
        for token in row:
            if token == MARKER_ID:
                text, piece = f"{text}{text_of(piece, tokenizer)}⟨item {next(items)}⟩", []
            elif token != PADDING_ID:
                piece.append(token)
        texts.append(text + text_of(piece, tokenizer))
    return texts


def _padding(prompt: PromptBatch | UserPromptBatch) -> str:
    rows, longest = prompt.token_ids.shape
    share = (prompt.token_ids == PADDING_ID).float().mean()
    return f"{rows} prompts in one batch, {longest} tokens long, {share:.0%} padding (training sorts by length)"


def _named(items: list[int], catalogue: Catalogue) -> str:
    return " · ".join(f"{item} {catalogue.titles[item - 1]}" for item in items)
