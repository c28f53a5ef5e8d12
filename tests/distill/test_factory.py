import pytest

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.distill.choices import POLICIES, WEIGHTINGS
from src.distill.selection_policy import SelectionPolicyRandom, create_selection_policy
from src.distill.settings import ActiveSettings
from src.distill.weighting import uniform
from src.exp.program.config import compose_settings


class Own(SelectionPolicyRandom):
    """A policy that is not shipped."""


def test_every_policy_has_its_config():
    assert {path.stem for path in (CONF_DIR / "active").glob("*.yaml")} >= set(POLICIES)


@pytest.mark.parametrize("name", list(POLICIES))
def test_shipped_configs_build_their_policy(name):
    settings = compose_settings(f"active={name}").active
    assert settings.policy == name
    policy = create_selection_policy(settings)
    assert type(policy) is POLICIES[name] and policy.share == settings.share


def test_a_policy_of_one_s_own_is_built():
    policy = create_selection_policy(ActiveSettings(policy=f"{__name__}:Own", share=0.25))
    assert type(policy) is Own and policy.share == 0.25


def test_an_unknown_policy_is_named_with_those_that_exist():
    with pytest.raises(UserError, match=r"active\.policy=mta is not known: use one of all, random, kl_divergence"):
        create_selection_policy(ActiveSettings(policy="mta", share=0.5))


def test_an_unknown_weighting_is_named_with_those_that_exist():
    with pytest.raises(UserError, match=r"distill\.weighting=mta is not known: use one of uniform, kl_div.*, meta"):
        WEIGHTINGS["mta"]
    assert WEIGHTINGS["uniform"] is uniform
