"""Teachers and routers by name; nothing is imported before one is asked for."""

from typing import Any

from ..core.registry import Registry

TEACHERS: Registry[Any] = Registry("teacher.name", __package__, {"ilora": "factory:create_ilora"}, kind=None)

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
