import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.core.errors import UserError
from src.distill.selection_policy import SelectionPolicyAll, SelectionPolicyRandom, create_selection_policy


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_all_means_all_in_ascending_order():
    assert SelectionPolicyAll().select(torch.tensor([7, 3, 5]), budget=1, generator=seeded()).tolist() == [3, 5, 7]


@given(
    st.sets(st.integers(0, 10**9), min_size=1, max_size=60), st.floats(0.01, 1), st.integers(1, 60), st.integers(0, 99)
)
@settings(deadline=None)
def test_random_takes_its_share_once_each_and_keeps_to_the_budget(ids, share, budget, seed):
    example_ids = torch.tensor(list(ids))
    chosen = SelectionPolicyRandom(share).select(example_ids, budget, seeded(seed)).tolist()
    assert len(chosen) == min(budget, max(1, round(share * len(ids))))
    assert chosen == sorted(set(chosen)) and set(chosen) <= ids


def test_random_follows_its_seed():
    ids, policy = torch.arange(1000), SelectionPolicyRandom(0.05)
    first = policy.select(ids, 1000, seeded(1))
    assert torch.equal(first, policy.select(ids, 1000, seeded(1)))
    assert not torch.equal(first, policy.select(ids, 1000, seeded(2)))


def test_every_example_is_drawn_equally_often():
    policy, ids, generator = SelectionPolicyRandom(0.25), torch.arange(8), seeded()
    counts = torch.bincount(torch.cat([policy.select(ids, 8, generator) for _ in range(2000)]), minlength=8)
    assert ((counts - 500).abs() < 5 * (2000 * 0.25 * 0.75) ** 0.5).all()


def test_selected_examples_count_one_each():
    assert SelectionPolicyRandom(0.5).weights(torch.tensor([4, 9])).tolist() == [1, 1]


@pytest.mark.parametrize("name, kind", [("all", SelectionPolicyAll), ("random", SelectionPolicyRandom)])
def test_shipped_configs_build_their_policy(name, kind):
    config = OmegaConf.load(f"conf/active/{name}.yaml")
    assert set(config) == {"policy", "share"}
    assert type(create_selection_policy(config.policy, config.share)) is kind


def test_the_shipped_meta_config_says_what_there_is_instead():
    config = OmegaConf.load("conf/active/meta.yaml")
    with pytest.raises(UserError, match=r"active\.policy=meta is not part of this version: use one of all, random"):
        create_selection_policy(config.policy, config.share)


@pytest.mark.parametrize("name, share", [("random", 0.0), ("random", 1.5), ("random", -1.0), ("all", 0.5)])
def test_a_share_that_does_not_suit_is_refused_by_its_key(name, share):
    with pytest.raises(UserError, match=rf"active\.share={share}"):
        create_selection_policy(name, share)
