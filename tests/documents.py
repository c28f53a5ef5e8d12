"""What documents tell a reader to type: commands, choices and keys, as they stand in code within Markdown."""

import re
import shlex
from collections.abc import Iterator

from src.core.paths import CONF_DIR
from src.exp.program.settings import RunSettings

UNSAID = ("$", "…", "<", "\\")  # what a reader is to put in himself, or what goes on in the next line
GROUPS = "|".join(RunSettings.model_fields)
CHOICES = "|".join(sorted({path.parent.relative_to(CONF_DIR).as_posix() for path in CONF_DIR.glob("*/**/*.yaml")}))


def code_of(text: str) -> str:
    """Returns what stands in code blocks and between backticks, a piece a line."""
    blocks = re.findall(r"^ *```(?:bash|yaml|text)?\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", prose)])


def keys(code: str) -> set[str]:
    """Returns dotted keys of settings that are given a value, `teacher.train.lr=…`."""
    return {key for key in re.findall(rf"(?<![\w./@~-])((?:{GROUPS})(?:\.\w+)+)=", code)}


def options(code: str) -> set[tuple[str, str]]:
    """Returns choices and options that are named, `student=gru4rec` or `student@teacher.user_encoder=caser`."""
    found = re.findall(rf"(?<![\w./~-])({CHOICES})(?:@[\w.]+)?=(\w+(?:\|\w+)*)(?![\w/.<…])", code)
    return {(choice, option) for choice, named in found for option in named.split("|")}


def modules(code: str) -> set[str]:
    """Returns the modules that are started, `python -m src.exp.run_all`."""
    return set(re.findall(r"(?:-m |^)((?:src|tests|benchmarks)\.[\w.]*\w)", code, flags=re.MULTILINE))


def installed_commands(code: str) -> set[str]:
    """Returns what `anyo` is told to do."""
    return set(re.findall(r"(?:^|[ `])anyo ([a-z]+(?:-[a-z]+)+)", code, flags=re.MULTILINE))


def scripts(code: str) -> set[str]:
    """Returns the shell scripts that are named, from the root of the checkout."""
    return set(re.findall(r"((?:cmd|env_shell)/\w+\.sh)", code))


def whole_lines(code: str) -> Iterator[list[str]]:
    """Yields the overrides of each command line that can be typed as it stands."""
    for line in code.splitlines():
        found = re.search(r"(?:src\.exp\.\w+|\./cmd/run_\w+\.sh|anyo [a-z]+-[a-z-]+) +(\S.*=.*)", line)
        if found and "run_tests" not in line and not any(mark in line for mark in UNSAID):
            yield [word for word in shlex.split(found[1], comments=True) if "=" in word]
