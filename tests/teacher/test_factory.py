from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from src.core.artefact import STUDENT, writing
from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.core.settings_reading import changed
from src.data.catalogue import Catalogue
from src.data.rows import TrainingWindows
from src.exp.program.config import compose_settings
from src.student.factory import create_student
from src.student.models import SASRec
from src.teacher.factory import create_teacher
from src.teacher.gating import MLPRouter
from src.teacher.moe_lora_model import MoELoRALinear
from src.teacher.prompts.templates import read_template
from src.teacher.settings import TeacherSettings
from src.teacher.store import load_trained, save_trained
from tests.student.students import NAMES, architecture
from tests.teacher.teachers import first_batch
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
BATCH = first_batch(DATASET, 4)
WINDOWS = TrainingWindows(DATASET, 8)[torch.arange(4)]
SHIPPED = compose_settings("teacher/llm=tiny_random").teacher


def settings_of(**changes: object) -> TeacherSettings:
    """The shipped settings with the random language model."""
    return changed(SHIPPED, {key.replace("__", "."): value for key, value in changes.items()})


def teacher_of(settings: TeacherSettings, dataset=DATASET, student=None, item_texts=None):
    torch.manual_seed(0)
    student = student or SASRec(dataset.num_items, 16, 8, num_blocks=1, num_heads=2, dropout=0.1)
    template = read_template(CONF_DIR / "prompts", "movies", settings.objective)
    return create_teacher(settings, dataset, student, template, Path("absent"), item_texts)


def test_settings_reach_every_part():
    teacher = teacher_of(
        settings_of(
            router={"name": "mlp"}, lora__r=12, lora__num_experts=3, lora__alpha=8, lora__dropout=0.25, prompt__items=2,
            prompt__title_tokens=5, eval_tokens=99, llm__pooling="last", llm__target_modules=["query", "value"],
        )
    )  # fmt: skip
    adapters = {n.rpartition(".")[2]: m for n, m in teacher.named_modules() if isinstance(m, MoELoRALinear)}
    assert set(adapters) == {"query", "value"}
    for adapter in adapters.values():
        assert (len(adapter.lora_A), adapter.rank_per_expert, adapter.scaling, adapter.dropout.p) == (12, 4, 2.0, 0.25)
    assert isinstance(teacher.router, MLPRouter)
    assert teacher.gates(BATCH.history).shape == (4, 3)
    assert (teacher.prompts.prompt_items, teacher.max_tokens, teacher.pooling) == (2, 99, "last")
    assert int(teacher.prompts.piece_lengths.max()) == 6  # five tokens and the marker
    assert teacher.score(BATCH).shape == (4, DATASET.num_items)


def test_plain_lora_has_one_expert_of_the_whole_rank_and_nothing_to_route():
    teacher = teacher_of(settings_of(mode="lora", lora__r=8, lora__alpha=32))
    adapters = [module for module in teacher.modules() if isinstance(module, MoELoRALinear)]
    assert {(adapter.rank_per_expert, adapter.scaling) for adapter in adapters} == {(8, 4.0)}  # alpha / r
    assert torch.equal(teacher.gates(BATCH.history), torch.ones(4, 1))
    assert not list(teacher.router.parameters())


def test_freeze_reads_with_the_language_model_as_it_is():
    teacher = teacher_of(settings_of(mode="freeze", reading="example"))
    assert not [module for module in teacher.modules() if isinstance(module, MoELoRALinear)]
    learned = {name.split(".")[0] for name, p in teacher.named_parameters() if p.requires_grad}
    assert learned == {"projector", "query", "item_from_text", "item_from_id", "item_bias"}
    teacher.training_loss(BATCH).backward()
    assert all(p.grad is not None for p in teacher.projector.parameters())


@pytest.mark.parametrize("reading", ["example", "user"])
@pytest.mark.parametrize("mode", ["ilora", "lora", "freeze"])
def test_every_mode_ranks_in_both_readings(mode, reading):
    assert teacher_of(settings_of(mode=mode, reading=reading)).score(BATCH).shape == (4, DATASET.num_items)


def test_the_router_may_read_what_the_language_model_made_of_the_prompt():
    teacher = teacher_of(settings_of(gate_input="h_seq"))
    assert teacher.router.linear.in_features == 32
    assert teacher.gates(BATCH.history).shape == (4, 4)


@pytest.mark.parametrize("reading", ["example", "user"])
@pytest.mark.parametrize("gate_input", ["student", "h_seq"])
def test_every_adapted_layer_may_have_a_router_of_its_own(reading, gate_input):
    teacher = teacher_of(settings_of(gate_per_layer=True, reading=reading, gate_input=gate_input))
    adapters = [module for module in teacher.modules() if isinstance(module, MoELoRALinear)]
    assert len(teacher.router.routers) == len(adapters) > 1
    assert teacher.gates(BATCH.history).shape == (4, 4 * len(adapters))
    assert teacher.score(BATCH).shape == (4, DATASET.num_items)


@pytest.mark.parametrize(("reading", "batch"), [("example", BATCH), ("user", WINDOWS)])
def test_gradient_checkpointing_changes_no_gradient(reading, batch):
    gradients = []
    for recompute in (False, True):
        teacher = teacher_of(settings_of(llm__gradient_checkpointing=recompute, reading=reading)).train()
        assert any(getattr(m, "gradient_checkpointing", False) for m in teacher.language_model.modules()) == recompute
        teacher.training_loss(batch).backward()
        gradients.append({name: p.grad for name, p in teacher.named_parameters() if p.grad is not None})
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_any_student_may_read_the_history_for_the_gates(name):
    student = create_student(name, DATASET.num_items, {**architecture(name), "history_length": BATCH.history.shape[1]})
    teacher = teacher_of(settings_of(), student=student)
    assert teacher.gates(BATCH.history).shape == (4, 4)
    assert teacher.score(BATCH).shape == (4, DATASET.num_items)


def test_item_texts_are_cut_to_their_tokens():
    long = Catalogue(
        DATASET.catalogue.raw_ids, DATASET.catalogue.titles, [text + "; and more" for text in DATASET.catalogue.texts]
    )
    # [CLS], six letters of "Film 1...", [SEP]: what stands behind them is not read
    cut = settings_of(prompt__text_tokens=8)
    assert torch.equal(teacher_of(cut).item_texts, teacher_of(cut, dataset=replace(DATASET, catalogue=long)).item_texts)
    whole = settings_of()
    other = teacher_of(whole, dataset=replace(DATASET, catalogue=long))
    assert not torch.allclose(teacher_of(whole).item_texts, other.item_texts)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("title", ["{}", "{}, the night before the day after another one", "{}\n of two lines"])
@torch.no_grad()
def test_an_answer_that_is_a_title_is_nearest_to_its_own_item(monkeypatch, pooling, title):
    """However an answer is encoded, and however short it is cut, a right one is at its item."""
    titles = [title.format(10 * item) for item in range(1, DATASET.num_items + 1)]
    catalogue = Catalogue(DATASET.catalogue.raw_ids, titles, [f"{title}; Drama" for title in titles])
    generates = {"objective": "generation", "reading": "example", "llm.name": "tiny-random-causal"}
    ranks = {"generation.rank_by": "distance", "generation.candidates": 4, "llm.pooling": pooling}
    settings = changed(SHIPPED, generates | ranks)
    teacher = teacher_of(settings, dataset=replace(DATASET, catalogue=catalogue)).eval()
    whole = teacher.tokenizer.batch_decode(teacher.prompts.answers[1:5], skip_special_tokens=True)
    said = [text.strip().partition("\n")[0] for text in whole]
    assert all(len(text) <= settings.prompt.title_tokens for text in said)
    monkeypatch.setattr(teacher, "_answers", lambda *prompts: said)
    assert teacher.score(BATCH).argmax(1).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(teacher.score(BATCH).amax(1), torch.zeros(4), rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["teacher.name=oracle"], r"teacher.name=oracle is not known: use one of ilora"),
        (["teacher.router.name=tree"], r"teacher.router.name=tree is not known"),
        (
            ["teacher/router=top_k", "teacher.router.top_k=5"],
            r"teacher.router.top_k=5 is more than teacher.lora.num_experts=4",
        ),
        (["teacher.lora.r=10"], r"teacher.lora.r=10 is not divisible"),
        (["teacher.llm.target_modules=[q_proj]"], r"no linear layer named q_proj"),
        (["teacher.llm.path=/nowhere/at/all", "teacher.llm.name=some"], r"The language model some cannot be loaded"),
        (["dataset.prompt=books"], r"dataset.prompt=books has no template"),
    ],
)
def test_wrong_settings_are_refused_by_name(overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        teacher_of(compose_settings("teacher/llm=tiny_random", *overrides).teacher)


def test_an_unknown_teacher_is_not_made():
    with pytest.raises(UserError, match=r"teacher.name=oracle is not known: use one of ilora"):
        teacher_of(settings_of(name="oracle"))


# --- the artefact --------------------------------------------------------------------------------------------------


def moved(teacher):
    for parameter in teacher.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    return teacher.eval()


def test_a_saved_teacher_scores_the_same_when_loaded(tmp_path):
    saved = moved(teacher_of(settings_of()))
    about = {"dataset_fingerprint": DATASET.fingerprint, "settings": settings_of().plain()}
    save_trained(tmp_path / "teacher", saved, about)
    fresh = teacher_of(settings_of())
    assert not torch.allclose(fresh.eval().score(BATCH), saved.score(BATCH))
    loaded = load_trained(lambda _: fresh.train(), tmp_path / "teacher", DATASET, settings_of())
    assert not loaded.training
    assert torch.equal(loaded.score(BATCH), saved.score(BATCH))


@pytest.mark.parametrize("objective", ["ranking", "generation"])
def test_a_loaded_teacher_encodes_no_text_again(tmp_path, monkeypatch, objective):
    llm = compose_settings("teacher/llm=tiny_random_causal").teacher.llm.plain()
    settings = settings_of(objective=objective, reading="example", llm=llm)
    saved = moved(teacher_of(settings))
    about = {"dataset_fingerprint": DATASET.fingerprint, "settings": settings.plain()}
    save_trained(tmp_path / "teacher", saved, about)
    monkeypatch.setattr("src.teacher.factory.encodings_of", lambda *_: pytest.fail("encoded again"))
    loaded = load_trained(
        lambda item_texts: teacher_of(settings, item_texts=item_texts), tmp_path / "teacher", DATASET, settings
    )
    assert torch.equal(loaded.item_texts, saved.item_texts)


def test_encodings_of_another_catalogue_or_language_model_are_not_taken():
    own = teacher_of(settings_of()).item_texts
    for other in (own[:-1], own[:, :-1]):
        assert torch.equal(teacher_of(settings_of(), item_texts=other + 1).item_texts, own)


def test_the_artefact_leaves_the_language_model_out(tmp_path):
    teacher = teacher_of(settings_of())
    save_trained(tmp_path / "teacher", teacher, {"dataset_fingerprint": DATASET.fingerprint})
    frozen = sum(parameter.numel() for parameter in teacher.parameters() if not parameter.requires_grad)
    size = (tmp_path / "teacher" / "trained.safetensors").stat().st_size
    kept = sum(value.numel() for value in teacher.trained_state().values())
    assert size < 4 * kept + 10_000 < 4 * (kept + frozen)


def test_a_teacher_of_something_else_is_refused_with_both_sides_and_the_command(tmp_path):
    teacher, ours = teacher_of(settings_of()), settings_of().plain()
    for theirs, said in (
        ({"dataset_fingerprint": "another", "settings": ours}, f"another instead of {DATASET.fingerprint}"),
        ({"settings": ours | {"mode": "lora"}}, "mode lora instead of ilora"),
        ({"settings": ours | {"llm": {**ours["llm"], "name": "another"}}}, "language model another instead of tiny"),
    ):
        save_trained(tmp_path / "teacher", teacher, {"dataset_fingerprint": DATASET.fingerprint, **theirs})
        with pytest.raises(UserError, match=rf"was made for .*{said}.*src\.exp\.run_teacher dataset=tiny"):
            load_trained(lambda _: teacher, tmp_path / "teacher", DATASET, settings_of())


def test_an_artefact_of_another_kind_is_refused(tmp_path):
    with writing(tmp_path / "student", STUDENT, {"dataset_fingerprint": DATASET.fingerprint}):
        pass
    with pytest.raises(UserError, match="holds no teacher but student"):
        load_trained(lambda _: teacher_of(settings_of()), tmp_path / "student", DATASET, settings_of())
