"""Choices by name, found in one way everywhere: shipped ones by a short name, anyone's own as `module:Name`."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from .errors import UserError

T = TypeVar("T")
T_co = TypeVar("T_co")


class Registry(Generic[T]):
    """The things that a config key can name, each imported when it is asked for and not before.

    A name with a colon is somebody's own, `package.module:Name`, from anywhere that Python imports from.

    Args:
        key: The config key, for messages, e.g. "student.name".
        package: `__package__` of the caller: where the modules of shipped things are.
        shipped: Short name to `module:Name`, the module within `package`.
        kind: `module:Name` of what a thing must be an instance of, or a class a subclass of; None: a function.
    """

    def __init__(self, key: str, package: str, shipped: dict[str, str], kind: str | None) -> None:
        self.key, self.package, self.shipped, self.kind = key, package, shipped, kind

    def __iter__(self) -> Iterator[str]:
        return iter(self.shipped)

    def __len__(self) -> int:
        return len(self.shipped)

    def __contains__(self, name: str) -> bool:
        return name in self.shipped

    def __getitem__(self, name: str) -> T:
        """Returns what is called so.

        Raises:
            UserError: There is nothing of that name, or it is of another kind.
        """
        return self._named(name, self.key)

    def _named(self, name: str, key: str) -> T:
        self.check(name, key)
        if name in self.shipped:
            return self._shipped(self.shipped[name])
        module, _, attribute = name.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise UserError(f"{key}={name} cannot be imported ({error}): give package.module:Name.") from None
        kind = None if self.kind is None else self._shipped(self.kind)
        if not _is_a(found, kind):
            words = "function" if kind is None else kind.__name__
            raise UserError(f"{key}={name} is no {words}: give package.module:Name of one.")
        return found

    def settings_of(self, name: str, shipped: Mapping[str, type[T_co]], key: str | None = None) -> type[T_co]:
        """Returns the type of the settings that go with a name: from the table of shipped ones, which is read without
        importing the thing itself; anyone's own says it, as `Settings`.

        Raises:
            UserError: There is nothing of that name, or it does not say its settings.
        """
        self.check(name, key)
        if name in shipped:
            return shipped[name]
        found = getattr(self._named(name, key or self.key), "Settings", None)
        if found is None:
            raise UserError(f"{name} does not say what its settings are: give it a class `Settings` (CONTRIBUTING.md).")
        return found

    def _shipped(self, place: str) -> Any:
        module, _, attribute = place.partition(":")
        return getattr(import_module(f".{module}", self.package), attribute)

    def check(self, name: str, key: str | None = None) -> None:
        """Makes sure that there may be something of that name, without importing it.

        Args:
            name: The name.
            key: Where it stands, if not at the registry's own key.

        Raises:
            UserError: It is neither shipped nor written as `module:Name`.
        """
        if name not in self.shipped and ":" not in str(name):
            known = ", ".join(self.shipped)
            stands_at = self.key if key is None or self.key.endswith(key) else key  # the longer says more
            raise UserError(f"{stands_at}={name} is not known: use one of {known}, or package.module:Name of your own.")


def _is_a(found: Any, kind: type | None) -> bool:
    if kind is None:
        return callable(found) and not isinstance(found, type)
    return issubclass(found, kind) if isinstance(found, type) else isinstance(found, kind)
