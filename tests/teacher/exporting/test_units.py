"""What an export holds at once: tiles of a budget, however many items there are."""

from pathlib import Path

import pytest
import torch

from src.core.errors import UserError
from src.core.metrics import users_within
from src.data.dataset import Dataset
from src.student.factory import create_student
from src.teacher import ilora_model
from src.teacher.ensemble.calibration import Calibration
from src.teacher.ensemble.opinion_pool import OpinionPool
from src.teacher.export import BYTES_PER_SCORE
from src.teacher.exporting.units import Ranking, Units
from src.teacher.ilora_model import ILoRAModel
from src.teacher.interfaces import Reading, Scored
from src.teacher.settings import ExportSettings
from src.teacher.user_pass import UserPassModel
from tests.memory import peak_bytes
from tests.student.students import architecture
from tests.teacher.teachers import tiny_teacher
from tests.worlds import dataset_of

BUDGET = 1  # MiB
FEW, MANY = 2_000, 8_000
LENGTH, WIDTH = 20, 32


def catalogue_of(num_items: int) -> Dataset:
    """A log of 16 users, 40 interactions each, over a catalogue of any size, whose titles are few."""
    logs = [[1 + (7 * user + 13 * place) % num_items for place in range(40)] for user in range(16)]
    return dataset_of(logs, [f"No. {item % 50}" for item in range(num_items)])


def teacher(dataset: Dataset, kind: type[ILoRAModel] = UserPassModel, weight: float = 0.0) -> ILoRAModel:
    made = tiny_teacher(dataset, kind=kind, max_tokens=8_000, prompt_items=LENGTH, history_length=LENGTH)
    made.calibration = Calibration(weight, 1.5)
    return made


def pool(dataset: Dataset, reads: bool) -> OpinionPool:
    torch.manual_seed(0)
    shape = {**architecture("sasrec"), "history_length": LENGTH}
    students = {name: create_student("sasrec", dataset.num_items, shape).eval() for name in ("a", "b", "c")}
    reader = teacher(dataset) if reads else None
    return OpinionPool(students, reader, torch.zeros(dataset.num_items, 3), max_tokens=2_000).eval()


RANKERS = {
    "language model": teacher,
    "a prompt per example": lambda dataset: teacher(dataset, ILoRAModel),
    "calibrated": lambda dataset: teacher(dataset, weight=0.7),
    "pool": lambda dataset: pool(dataset, reads=True),
    "pool of students": lambda dataset: pool(dataset, reads=False),
}


def asked(ranker: Ranking, dataset: Dataset, folder: Path) -> Units:
    train, longest = dataset.examples["train"], int(dataset.offsets.diff().max())
    tile = users_within(BUDGET, dataset.num_items, longest, BYTES_PER_SCORE)
    return Units(ranker, dataset, train, ExportSettings(k=20, exclude_seen=True), tile, folder)


@pytest.mark.parametrize("name", RANKERS)
@torch.inference_mode()
def test_what_is_held_grows_with_the_catalogue_by_the_models_own_vectors_alone(name, tmp_path, monkeypatch):
    monkeypatch.setattr(ilora_model, "ITEMS_AT_ONCE", 500)
    peaks, table = {}, 4 * WIDTH  # the vectors that the language model ranks by
    for num_items in (FEW, MANY):
        dataset = catalogue_of(num_items)
        work = asked(RANKERS[name](dataset), dataset, tmp_path)
        reading, said = work.readings[0][0], []
        peaks[num_items] = peak_bytes(lambda reading=reading, said=said: said.append(reading.read()))
        tile = slice(0, work.tile)
        held = peak_bytes(lambda said=said[0], tile=tile, work=work: work.best(said.scores[tile], said.rows[tile]))
        assert work.tile < len(reading.rows) and BUDGET * 2**20 / 4 < held <= BUDGET * 2**20
    assert 4 * len(reading.rows) > table  # scores of a whole reading would be more than that
    assert peaks[MANY] - peaks[FEW] <= (MANY - FEW) * table


class Own:
    """A ranker whose readings are what a test says."""

    def __init__(self, readings: list[Reading]) -> None:
        self._readings, self.layer = readings, torch.nn.Linear(1, 1)

    def readings(self, dataset, examples) -> list[Reading]:
        return self._readings

    def trained_state(self) -> dict[str, torch.Tensor]:
        return {}

    def parameters(self):
        return self.layer.parameters()


def test_readings_hold_each_example_once_and_score_what_they_name(tmp_path):
    dataset = catalogue_of(50)
    train = dataset.examples["train"]
    everyone = torch.arange(len(train))

    def reading(rows: torch.Tensor, scored: torch.Tensor) -> Reading:
        return Reading(rows, lambda: Scored(scored, torch.randn(len(scored), 50), 0))

    def units(*readings: Reading) -> Units:
        return Units(Own(list(readings)), dataset, train, ExportSettings(k=3, exclude_seen=False), 10, tmp_path)

    first, rest = everyone[:5], everyone[5:]
    assert units(reading(rest, rest), reading(first, first)).ask(0)["items"].shape == (len(train), 3)
    for wrong in (everyone[:-1], torch.cat([everyone, everyone[:1]]), everyone + 1):
        with pytest.raises(UserError, match="do not hold each of them once"):
            units(reading(wrong, wrong))
    with pytest.raises(UserError, match="other examples than its reading names, or in another order"):
        units(reading(everyone, everyone.flip(0))).ask(0)
