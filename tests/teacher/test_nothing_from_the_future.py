"""Whatever comes after an example's history, its target first of all, changes none of its scores: for every teacher."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import BertModel, LlamaModel

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.core.settings_reading import changed
from src.data.dataset import Dataset, Examples
from src.data.rows import TrainingWindows
from src.exp.program.config import compose_settings
from src.student.factory import create_student
from src.teacher.factory import create_teacher
from src.teacher.gated_model import GatedLanguageModel
from src.teacher.language_model import tiny
from src.teacher.language_model.tiny import tiny_random, tiny_random_causal
from src.teacher.prompts.templates import read_template
from src.teacher.user_pass import UserPassModel
from tests.student.students import NAMES, architecture
from tests.worlds import another_future, tiny_dataset

DATASET = tiny_dataset()
LENGTH = 8
LLM = {"encoder": "tiny_random", "causal": "tiny_random_causal"}
SHIPPED = {kind: compose_settings(f"teacher/llm={option}").teacher for kind, option in LLM.items()}


def teacher_of(llm: str, student: str = "sasrec", dataset: Dataset = DATASET, **changes: object) -> GatedLanguageModel:
    """A teacher of the shipped settings but for `changes`, all that is trained at random, adapters at work."""
    small = {"prompt.items": LENGTH, "prompt.title_tokens": 12, "eval_tokens": 1500}
    settings = changed(SHIPPED[llm], small | {key.replace("__", "."): value for key, value in changes.items()})
    torch.manual_seed(0)
    deep = {"num_blocks": 2, "num_heads": 2} if student == "sasrec" else {}
    reader = create_student(student, dataset.num_items, {**architecture(student), **deep, "history_length": LENGTH})
    template = read_template(CONF_DIR / "prompts", "movies", settings.objective)
    teacher = create_teacher(settings, dataset, reader, template, Path("absent"))
    for name, parameter in teacher.named_parameters():
        if parameter.requires_grad and name != "item_bias":
            nn.init.normal_(parameter, std=0.2)
    return teacher.eval()


OTHER, PLACE = another_future()


def scored(teacher: GatedLanguageModel, dataset: Dataset, examples: Examples) -> Tensor:
    """`[n, items]`, as they are exported."""
    scores = torch.empty(len(examples), dataset.num_items)
    for part in teacher.scores_in_batches(dataset, examples):
        scores[part.rows] = part.scores[:]
    return scores


READ = [
    {"llm": llm, "reading": reading, "gate_input": gate_input}
    for llm in LLM
    for reading in ("user", "example")
    for gate_input in ("student", "h_seq")
]
RANKING = [
    *({**read, "llm__pooling": pooling} for read in READ for pooling in ("mean", "last")),
    *({"llm": llm, "reading": "user", "mode": mode} for llm in LLM for mode in ("lora", "freeze")),
]
WRITES = {"llm": "causal", "objective": "generation", "reading": "example", "generation__candidates": 4}
GENERATION = [
    *({**WRITES, "generation__rank_by": "likelihood", "mode": mode} for mode in ("ilora", "freeze")),
    {**WRITES, "generation__rank_by": "distance", "prompt__title_tokens": 4},
]
STUDENTS = [{"llm": "encoder", "reading": "user", "student": student} for student in NAMES]


def words(changes: dict[str, object]) -> str:
    return "-".join(str(value) for value in changes.values())


@pytest.mark.parametrize("changes", [*RANKING, *GENERATION, *STUDENTS], ids=words)
@torch.no_grad()
def test_scores_do_not_depend_on_what_comes_after_the_history(changes):
    teacher = teacher_of(**changes)
    examples = DATASET.examples["train"]
    ours, theirs = scored(teacher, DATASET, examples), scored(teacher, OTHER, examples)
    before = examples.end <= PLACE[examples.user]  # of the target, the first thing that differs at the latest
    assert 3 < before.sum() < len(before) - 3
    torch.testing.assert_close(theirs[before], ours[before], rtol=1e-4, atol=1e-5)
    assert (theirs[~before] - ours[~before]).abs().max() > 1e-2


@pytest.mark.parametrize("llm", LLM)
@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("gate_input", ["student", "h_seq"])
@torch.no_grad()
def test_in_training_no_state_knows_a_target(llm, pooling, gate_input):
    """Targets stand in a window's history, one place further on: nowhere else."""
    teacher = teacher_of(llm, reading="user", llm__pooling=pooling, gate_input=gate_input).train()
    batch = TrainingWindows(DATASET, LENGTH)[torch.arange(5)]
    assert torch.equal(batch.history[:, 1:], batch.target[:, :-1].where(batch.history[:, 1:] > 0, 0))
    states = teacher.prefix_representations(batch.history)
    for place in range(batch.history.shape[1] - 1):
        later = torch.arange(batch.history.shape[1]) > place
        other = batch.history.where(~later | (batch.history == 0), 1 + (batch.history + 6) % 15)
        found = teacher.prefix_representations(other)
        torch.testing.assert_close(found[:, : place + 1], states[:, : place + 1], rtol=1e-4, atol=1e-5)
        changed_ones = batch.history[:, place + 1] > 0
        assert (found - states)[changed_ones, place + 1].abs().amax(1).min() > 1e-4


def test_in_bfloat16_training_no_state_knows_a_target_either():
    """Where gradients are wanted in bf16, short prompts are read by an attention of our own."""
    for llm in LLM:
        teacher = teacher_of(llm, reading="user").train()
        history = torch.tensor([[3, 1, 4, 1, 5], [2, 9, 3, 0, 0]])
        other = torch.tensor([[3, 1, 7, 9, 2], [2, 9, 5, 0, 0]])
        with torch.autocast("cpu", torch.bfloat16):
            ours, theirs = teacher.prefix_representations(history), teacher.prefix_representations(other)
        assert torch.equal(ours[:, :2], theirs[:, :2])
        assert not torch.equal(ours[:, 2], theirs[:, 2])


# --- neither others of the batch nor padding -----------------------------------------------------------------------


@pytest.mark.parametrize("changes", [*READ, *GENERATION, *STUDENTS], ids=words)
@torch.no_grad()
def test_scores_depend_neither_on_the_batch_nor_on_its_padding(changes):
    teacher = teacher_of(**changes)
    rows = torch.tensor([0, 9, 4, 15])  # short and long histories
    batch = DATASET.batch(DATASET.examples["train"].subset(rows), LENGTH)
    together = teacher.score(batch)
    for row in range(len(rows)):
        shown = int((batch.history[row] > 0).sum())
        alone = replace(batch, **{name: part[row : row + 1] for name, part in vars(batch).items() if part is not None})
        for width in (shown, LENGTH):
            found = teacher.score(replace(alone, history=alone.history[:, :width]))
            torch.testing.assert_close(found[0], together[row], rtol=1e-4, atol=1e-5)


# --- what cannot be kept from reading ahead is refused -------------------------------------------------------------


def test_an_encoder_whose_attention_overlooks_masks_is_refused_where_it_would_read_ahead(monkeypatch):
    def careless():
        model, tokenizer = tiny_random()
        model.set_attn_implementation("eager")
        return model, tokenizer

    monkeypatch.setattr(tiny, "tiny_random", careless)
    with pytest.raises(UserError, match=r"BertModel .* overlooks a mask .* set teacher.reading=example, or"):
        teacher_of("encoder", reading="user")
    assert teacher_of("encoder", reading="example").score(
        DATASET.batch(DATASET.examples["train"].subset(torch.arange(2)), LENGTH)
    ).shape == (2, DATASET.num_items)


def test_a_model_that_sees_what_it_is_to_write_is_refused(monkeypatch):
    def both_ways():
        model, tokenizer = tiny_random_causal()
        bare = BertModel(tiny_random()[0].config, add_pooling_layer=False)
        bare.config.architectures = ["LlamaForCausalLM"]
        model.model = bare
        return model, tokenizer

    monkeypatch.setattr(tiny, "tiny_random_causal", both_ways)
    with pytest.raises(UserError, match=r"sees the tokens that it is to write: teacher.objective=generation needs"):
        teacher_of("causal", objective="generation", reading="example")


class Overlooking(LlamaModel):
    """Causal, but deaf to masks that say more than what is padding."""

    def forward(self, attention_mask: Tensor | None = None, **given: object):
        told = attention_mask is not None and attention_mask.dim() == 2
        return super().forward(attention_mask=attention_mask if told else None, **given)


def test_a_model_that_would_mix_titles_up_is_refused_where_it_ranks_by_them(monkeypatch):
    def mixing():
        model, tokenizer = tiny_random_causal()
        model.model = Overlooking(model.config)
        return model, tokenizer

    monkeypatch.setattr(tiny, "tiny_random_causal", mixing)
    with pytest.raises(UserError, match=r"overlooks a mask that keeps titles apart: set .*rank_by=distance"):
        teacher_of(**WRITES, generation__rank_by="likelihood")
    assert teacher_of(**WRITES, generation__rank_by="distance").rank_by == "distance"


def test_what_may_be_seen_follows_the_model_and_not_its_files():
    torch.manual_seed(0)
    for llm, causal in (("encoder", False), ("causal", True)):
        for pooling in ("mean", "last"):
            teacher = teacher_of(llm, reading="user", llm__pooling=pooling)
            assert isinstance(teacher, UserPassModel) and teacher.causal == causal
