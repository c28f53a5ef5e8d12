import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.rows import TrainingWindows
from src.distill.choices import POLICIES
from src.distill.selection_policy import Pool, SelectionPolicy, create_selection_policy
from src.distill.settings import ActiveSettings
from src.student.models import SequentialRecommender
from tests.student.students import D, L, student
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
TRAIN = DATASET.examples["train"]
NAMES = ["gru4rec", "caser"]  # one is trained at all positions, one reads each example by itself


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy_named(name: str, share: float) -> SelectionPolicy:
    return create_selection_policy(ActiveSettings(policy=name, share=share))


def pool(name: str = "gru4rec", together: torch.Tensor | None = None, dropout: float = 0.5) -> Pool:
    together = torch.arange(len(TRAIN)) if together is None else together
    return Pool(DATASET, student(name, dropout=dropout), together, seed=0)


@torch.no_grad()
def literal_states(model: SequentialRecommender) -> torch.Tensor:
    """The states of all train examples in the order of their ids, each from a history of its own."""
    found = torch.empty(len(TRAIN), D)
    if not model.causal:
        return model.user_representation(DATASET.batch(TRAIN, L).history)
    windows = TrainingWindows(DATASET, L)
    batch = windows[torch.arange(len(windows))]
    for row, place in (batch.target > 0).nonzero().tolist():
        history = batch.history[row : row + 1, : place + 1]
        found[batch.example_id[row, place] - TRAIN.example_id[0]] = model.user_representation(history)[0]
    return found


class Valued(SelectionPolicy):
    """Its values are given."""

    name = "valued"

    def __init__(self, share: float, given: torch.Tensor) -> None:
        super().__init__(share)
        self.given = given

    def values(self, pool: Pool) -> torch.Tensor:
        return self.given


@pytest.mark.parametrize("name", list(POLICIES))
@given(share=st.floats(0.01, 1), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=10)
def test_the_share_is_taken_once_each_in_ascending_order(name, share, seed):
    share = 1 if name == "all" else share
    chosen = policy_named(name, share).select(pool(), seeded(seed)).tolist()
    assert len(chosen) == max(1, round(share * len(TRAIN)))
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(TRAIN.example_id.tolist())


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "all"])
def test_policies_follow_their_seed(name):
    policy = policy_named(name, 0.3)
    first = policy.select(pool(), seeded(1))
    assert torch.equal(first, policy.select(pool(), seeded(1)))
    assert not torch.equal(first, policy.select(pool(), seeded(2)))


def test_examples_are_drawn_in_proportion_to_their_values():
    values = torch.zeros(len(TRAIN))
    values[3], values[7] = 3, 1
    policy, here = Valued(1 / len(TRAIN), values), pool()
    drawn = torch.cat([policy.select(here, seeded(seed)) for seed in range(2000)]) - TRAIN.example_id[0]
    counts = torch.bincount(drawn, minlength=len(TRAIN))
    assert counts[3] + counts[7] == 2000
    assert abs(counts[3] - 1500) < 5 * (2000 * 0.75 * 0.25) ** 0.5


def test_what_is_read_together_is_asked_about_together():
    together = torch.arange(len(TRAIN)) // 4
    chosen = policy_named("random", 0.4).select(pool(together=together), seeded()) - TRAIN.example_id[0]
    groups = together[chosen].unique()
    assert chosen.tolist() == [row for row in range(len(TRAIN)) if together[row] in groups]
    wanted = round(0.4 * len(TRAIN))
    assert wanted <= len(chosen) < wanted + 4


@pytest.mark.parametrize("name", NAMES)
def test_the_error_is_the_loss_of_the_student_on_each_example(name):
    here, target = pool(name), DATASET.batch(TRAIN, L).target
    with torch.no_grad():
        expected = F.cross_entropy(here.student.score(literal_states(here.student)), target - 1, reduction="none")
    found = policy_named("ground_truth_error", 0.5).values(here)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_student_without_dropout_agrees_with_itself(name):
    policy = policy_named("kl_divergence", 0.5)
    assert policy.values(pool(name, dropout=0.0)).abs().max() < 1e-5
    here = pool(name)
    state = torch.get_rng_state()
    values = policy.values(here)
    assert (values > 0).all() and torch.equal(values, policy.values(here))
    assert not here.student.training and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_meta_is_the_gain_of_a_step_of_the_output_layer(name):
    here, batch, held_out = pool(name), DATASET.batch(TRAIN, L), DATASET.batch(DATASET.examples["val"], L)
    model = here.student
    with torch.no_grad():
        hidden, states = literal_states(model), model.user_representation(held_out.history)
    weight, bias = (None if each is None else each.detach() for each in model.output_layer())

    def gradient(states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        free = weight.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(F.linear(states, free, bias), target - 1), free)[0]

    wanted = gradient(states, held_out.target)
    expected = [
        (gradient(hidden[row : row + 1], batch.target[row : row + 1]) * wanted).sum().clamp(min=0)
        for row in range(len(TRAIN))
    ]
    found = policy_named("meta", 0.5).values(here)
    assert torch.allclose(found, torch.stack(expected), atol=1e-5) and (found > 0).any()
