"""From the command line to settings: Hydra puts the config together, the types read it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from ...core.errors import UserError
from ...core.paths import CONF_DIR, ROOT, absolute, new_folder
from ...core.settings_reading import read_settings
from ...teacher.prompts.templates import read_template
from .settings import RunSettings

OmegaConf.register_new_resolver("project_root", lambda: str(ROOT), replace=True)
OmegaConf.register_new_resolver("conf_dir", lambda: str(CONF_DIR), replace=True)
OmegaConf.register_new_resolver("absolute", absolute, replace=True)
OmegaConf.register_new_resolver("new_folder", new_folder, replace=True, use_cache=True)


# What Hydra and the readers of YAML raise while a config is put together from what a user wrote.
CONFIG_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError)


def in_words(error: Exception) -> UserError:
    """Returns one of `CONFIG_ERRORS` as one sentence."""
    if isinstance(error, UnicodeDecodeError):
        said = f"a YAML file is not UTF-8 text, behind {error.object[max(error.start - 40, 0) : error.start]!r}"
    else:
        said = " ".join(str(error).partition("Config search path")[0].split())
    return UserError(f"The config cannot be put together: {said.rstrip('.')}: mend that file or override.")


@contextmanager
def told_in_words() -> Iterator[None]:
    """Lets a `UserError` through in the place of Hydra's errors."""
    try:
        yield
    except CONFIG_ERRORS as error:
        raise in_words(error) from None


def with_any_key(overrides: Sequence[str]) -> list[str]:
    """Returns overrides that Hydra takes although their keys stand in no YAML: defaults are said by the types, and what
    no type knows is told by `read_settings`, all at once.
    """
    return [override if _is_for_hydra(override) else f"++{override.removeprefix('+')}" for override in overrides]


def _is_for_hydra(override: str) -> bool:
    key, equals, _ = override.partition("=")
    name = key.removeprefix("+")
    is_group = "/" in key or "@" in key or ("." not in key and (CONF_DIR / name).is_dir())
    return not (equals and name) or name.startswith(("+", "~", "-", "hydra.")) or is_group


def settings_of(cfg: DictConfig) -> RunSettings:
    """Returns the settings that a composed config holds.

    Raises:
        UserError: Something in it is wrong, or names what is not there; tells all that the types find at once.
    """
    with told_in_words():
        tree = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))  # a config is a mapping
    settings = read_settings(RunSettings, tree)
    read_template(settings.paths.prompts_dir, settings.dataset.prompt, settings.teacher.prompts_like)
    return settings


def compose_settings(*overrides: str) -> RunSettings:
    """Returns the settings of the shipped config with overrides as on a command line; for callers in Python.

    Raises:
        UserError: See `settings_of`.
    """
    with told_in_words(), initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        cfg = compose("config", with_any_key(overrides))
    return settings_of(cfg)
