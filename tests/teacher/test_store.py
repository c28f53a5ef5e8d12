"""What is trained comes back: for every kind of teacher, after training has moved all that it moves."""

import copy
from itertools import product
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from src.core.paths import CONF_DIR
from src.core.settings_reading import changed
from src.data.rows import TrainingWindows
from src.exp.program.config import compose_settings
from src.student.models import SASRec
from src.teacher.factory import create_teacher
from src.teacher.gated_model import GatedLanguageModel
from src.teacher.generation.trainer import GenerationModule
from src.teacher.prompts.templates import read_template
from src.teacher.settings import TeacherSettings
from src.teacher.store import load_trained, save_trained
from src.teacher.trainer_ilora import ILoRAModule
from tests.teacher.generation import writers
from tests.teacher.teachers import first_batch
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
BATCH = first_batch(DATASET, 3)
BATCHES = {
    "example": BATCH,
    "user": TrainingWindows(DATASET, 8)[torch.arange(3)],
    "generation": writers.batch_of(3),
}
ROUTERS = sorted(path.stem for path in (CONF_DIR / "teacher" / "router").glob("*.yaml"))
SMALL = {"lora.r": 4, "prompt.items": 8, "prompt.title_tokens": 4, "generation.candidates": 4}


RANKS = compose_settings("teacher/llm=tiny_random").teacher
WRITES = compose_settings("teacher=ilora_generation", "teacher/llm=tiny_random_causal").teacher


def settings_of(router: str = "linear", reading: str = "user", **changes: object) -> TeacherSettings:
    """The shipped settings but for `changes`; reading=generation stands for that objective, of which it is the only."""
    own = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "teacher" / "router" / f"{router}.yaml"))
    if reading == "generation":
        settings, how = WRITES, {"llm.target_modules": ["q_proj", "v_proj"]}
    else:
        settings, how = RANKS, {"llm.target_modules": ["query", "value"], "reading": reading}
    return changed(settings, SMALL | how | {"router": own} | changes)


def teacher_of(settings: TeacherSettings) -> GatedLanguageModel:
    torch.manual_seed(0)
    student = SASRec(DATASET.num_items, 8, 8, num_blocks=1, num_heads=1, dropout=0.0)
    template = read_template(CONF_DIR / "prompts", "movies", settings.objective)
    return create_teacher(settings, DATASET, student, template, Path("absent"))


def comes_back(folder: Path, reading: str, settings: TeacherSettings) -> None:
    """Trains two steps, saves, loads: bit-equal gates and scores, and nothing that training moved is left behind."""
    teacher = teacher_of(settings)
    fresh = copy.deepcopy(teacher)
    untrained, before = fresh.eval().score(BATCH), fresh.state_dict()
    teacher.train()
    optimizer = torch.optim.AdamW([p for p in teacher.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):  # adapters begin at zero: routers have a gradient from the second step on
        optimizer.zero_grad()
        teacher.training_loss(BATCHES[reading]).backward()
        optimizer.step()
    after = teacher.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == set(teacher.trained_state()) - teacher.kept_buffers
    module = (GenerationModule if reading == "generation" else ILoRAModule)(teacher, settings.train, seed=0)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) >= {f"model.{name}" for name in moved}
    about = {"dataset_fingerprint": DATASET.fingerprint, "settings": settings.plain()}
    save_trained(folder, teacher.eval(), about)
    loaded = load_trained(lambda _: fresh.train(), folder, DATASET, settings)
    assert torch.equal(loaded.gates(BATCH.history), teacher.gates(BATCH.history))
    scores = loaded.score(BATCH)
    assert torch.equal(scores, teacher.score(BATCH))
    assert not torch.allclose(scores, untrained)


@pytest.mark.parametrize("reading", ["user", "example"])
@pytest.mark.parametrize("router", ROUTERS)
def test_every_router_comes_back_in_every_reading(tmp_path, router, reading):
    for number, (per_layer, gate_input) in enumerate(product((False, True), ("student", "h_seq"))):
        settings = settings_of(router, reading, gate_per_layer=per_layer, gate_input=gate_input)
        comes_back(tmp_path / str(number), reading, settings)


@pytest.mark.parametrize("router", ROUTERS)
def test_every_router_comes_back_from_writing_titles(tmp_path, router):
    for per_layer in (False, True):
        comes_back(tmp_path / str(per_layer), "generation", settings_of(router, "generation", gate_per_layer=per_layer))


@pytest.mark.parametrize("reading", list(BATCHES))
@pytest.mark.parametrize("mode", ["lora", "freeze"])
def test_a_teacher_without_a_router_comes_back(tmp_path, mode, reading):
    comes_back(tmp_path / "teacher", reading, settings_of(reading=reading, mode=mode))
