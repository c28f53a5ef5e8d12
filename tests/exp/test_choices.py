import pytest
from hydra import compose, initialize_config_dir

from src.core.errors import UserError
from src.core.paths import CONF_DIR
from src.exp.choices import check_choices


def composed(*overrides: str):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def test_the_shipped_config_names_what_exists():
    check_choices(composed())


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("student.name=bert4rec", "student.name=bert4rec is not known"),
        ("teacher.router.name=tree", "teacher.router.name=tree is not known"),
        ("teacher.router.name=top_k", "teacher.router.name=top_k takes top_k, not none"),
        (
            "teacher/router=top_k teacher.router.top_k=5",
            "teacher.router.top_k=5 is more than teacher.lora.num_experts=4",
        ),
        ("dataset.prompt=books", "dataset.prompt=books has no template"),
        ("active.policy=oracle", "active.policy=oracle"),
        ("distill.preset=modern", "distill.preset=modern is not known"),
        ("teacher.lora.r=10", "teacher.lora.r=10 is not divisible by teacher.lora.num_experts=4"),
    ],
)
def test_a_wrong_name_is_told_before_anything_runs(override, told):
    with pytest.raises(UserError, match=told):
        check_choices(composed(*override.split()))
