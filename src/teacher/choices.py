"""Teachers, routers and language models that are made here by name; nothing is imported before one is asked for."""

from typing import Any

from ..core.registry import Registry

TEACHERS: Registry[Any] = Registry("teacher.name", __package__, {"ilora": "factory:create_ilora"}, kind=None)

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
