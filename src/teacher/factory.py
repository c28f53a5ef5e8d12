"""Teachers and routers by name; nothing of PyTorch is imported before one is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.registry import Registry

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..student.models import SequentialRecommender
    from .gated_model import GatedLanguageModel
    from .gating import Router
    from .settings import RouterSettings, TeacherSettings

TEACHERS: "Registry[Callable[..., GatedLanguageModel]]" = Registry(
    "teacher.name", __package__, {"ilora": "ilora:create_ilora"}, kind=None
)

ROUTERS: "Registry[type[Router]]" = Registry(
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


def create_teacher(
    settings: "TeacherSettings",
    dataset: "Dataset",
    user_encoder: "SequentialRecommender",
    template: str,
    language_models_dir: Path,
) -> "GatedLanguageModel":
    """Returns an untrained teacher.

    Args:
        settings: Key `teacher`.
        dataset: A prepared dataset; its titles and texts are what the language model reads.
        user_encoder: A student trained on it.
        template: The prompt's text (`prompts.templates.read_template`).
        language_models_dir: Where language models lie.

    Raises:
        UserError: An unknown teacher, router or language model.
    """
    return TEACHERS[settings.name](settings, dataset, user_encoder, template, language_models_dir)


def create_router(settings: "RouterSettings", d_user: int, num_experts: int) -> "Router":
    """Returns a router from `[..., d_user]` to `[..., num_experts]`.

    Raises:
        UserError: There is no router of that name.
    """
    own = {name: value for name, value in settings.plain().items() if name != "name"}
    return ROUTERS[settings.name](d_user, num_experts, **own)
