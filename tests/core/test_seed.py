import random

import numpy as np
import pytest
import torch

from src.core.seed import generator, seed_everything


@pytest.fixture(autouse=True)
def restored():
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_a_seed_fixes_python_numpy_and_pytorch():
    seed_everything(3)
    first = draws()
    seed_everything(3)
    assert draws() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draws(), first, strict=True))
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()


def test_each_library_draws_as_if_it_had_been_seeded_by_itself():
    seed_everything(3)
    everything = draws()
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    assert draws() == everything


def test_a_generator_neither_shifts_nor_hears_the_others():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    mine = torch.rand(3, generator=generator(7))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.rand(3, generator=generator(7)), mine)
    assert not torch.equal(torch.rand(3, generator=generator(8)), mine)
