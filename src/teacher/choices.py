"""Teachers, routers and language models that are made here by name; nothing is imported before one is asked for."""

from typing import Any, NoReturn

from ..core.errors import UserError
from ..core.registry import Registry

ASKED = "api"  # over the network; the others are trained here

TEACHERS: Registry[Any] = Registry(
    "teacher.name", __package__, {"ilora": "factory:create_ilora", ASKED: "choices:nothing_to_create"}, kind=None
)

LANGUAGE_MODELS: Registry[Any] = Registry(  # with random weights; all others have files
    "teacher.llm.name",
    __package__,
    {"tiny-random": "language_model.tiny:tiny_random", "tiny-random-causal": "language_model.tiny:tiny_random_causal"},
    kind=None,
)

ROUTERS: Registry[Any] = Registry(
    "teacher.router.name",
    __package__,
    {
        "linear": "gating:LinearRouter",
        "mlp": "gating:MLPRouter",
        "dropout": "gating:DropoutRouter",
        "top_k": "gating:TopKRouter",
        "top_k_paper": "gating:PaperTopKRouter",
        "noisy": "gating:NoisyRouter",
        "noisy_mlp": "gating:NoisyMLPRouter",
        "resnet": "resnet_router:ResNetRouter",
    },
    kind="gating:Router",
)


def nothing_to_create(*_: object) -> NoReturn:
    """Stands where other teachers are created (`factory.create_teacher`).

    Raises:
        UserError: Always.
    """
    raise UserError(
        f"teacher.name={ASKED} is asked over the network: there is nothing here to train, to calibrate or to probe, "
        "and it has no gates; run_teacher exports its rankings, and run_all distils them."
    )
