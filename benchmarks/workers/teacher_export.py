"""One side of `export_speed`: ranks the same train examples with a teacher, again each time a line arrives.

Settings: `overrides` of the shipped config, `users` (the first ones, all their train examples), `plain`: whether to go
the plain way, float32, batches as they come, every prompt padded to the longest of the log.
"""

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from src.core.precision import autocast, resolve_precision
from src.data.dataset import Dataset, Examples
from src.teacher.ilora_model import ILoRAModel
from src.teacher.interfaces import best_items
from src.teacher.language_model.encodings import pool
from src.teacher.prompts.prompt import PADDING_ID

from ..ours import new_teacher, prepared, run_of
from ..timing import Line
from ..work import Work, peak_rate

K, PLAIN_BATCH = 20, 32


def plain(model: ILoRAModel, dataset: Dataset, examples: Examples, longest: int) -> int:
    """The loop that one writes first; returns the tokens of the prompts, without padding."""
    items, tokens = model.item_embeddings(), 0
    for rows in torch.arange(len(examples)).split(PLAIN_BATCH):
        history = dataset.batch(examples.subset(rows), model.history_length).history
        prompt = model.prompts.build(history)
        token_ids = F.pad(prompt.token_ids, (0, longest - prompt.token_ids.shape[1]), value=PADDING_ID)
        attended = token_ids != PADDING_ID
        with model.binding.bind(model.gates(history)):
            hidden = model.language_model(
                inputs_embeds=model.embedded(token_ids, prompt.marked_items), attention_mask=attended.long()
            ).last_hidden_state
        best_items(model.scores_of(pool(hidden, attended, model.pooling), items), K, None)
        tokens += int(attended.sum())
    return tokens


def in_batches(model: ILoRAModel, dataset: Dataset, examples: Examples) -> int:
    """What an export does; returns the tokens that were read."""
    tokens = 0
    for scored in model.scores_in_batches(dataset, examples):
        best_items(scored.scores[:], K, None)
        tokens += scored.tokens_read
    return tokens


def lengths_of(model: ILoRAModel, dataset: Dataset, examples: Examples) -> Tensor:
    return model.prompts.lengths(dataset.batch(examples, model.user_encoder.history_length).history)


@torch.no_grad()
def main() -> None:
    line = Line()
    run = run_of(line.settings["overrides"])
    dataset = prepared(run)
    model = new_teacher(run, dataset).eval()
    train = dataset.examples["train"]
    examples = train.subset(train.user < line.settings["users"])
    longest = int(lengths_of(model, dataset, train.sample(20_000, torch.Generator().manual_seed(0))).max())
    precision = "32-true" if line.settings["plain"] else resolve_precision("auto")

    def rank() -> int:
        with autocast(precision, torch.device("cpu")):
            if line.settings["plain"]:
                return plain(model, dataset, examples, longest)
            return in_batches(model, dataset, examples)

    def measure() -> dict[str, float]:
        start = time.perf_counter()
        rank()
        return {"seconds": time.perf_counter() - start}

    with Work() as work:
        tokens = rank()
    at_peak = sum(flop / peak_rate(dtype, 10) for dtype, flop in work.done.items())
    line.serve({"examples": len(examples), "tokens": tokens, "seconds_at_peak": at_peak}, measure)


if __name__ == "__main__":
    main()
