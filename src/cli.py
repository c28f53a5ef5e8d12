"""`anyo`: the commands of `exp` by name, `anyo run-all dataset=…`."""

import ast
import sys
from importlib import import_module
from pathlib import Path

COMMANDS = Path(__file__).parent / "exp"


def main() -> None:
    """Starts the command that the first argument names; tells which there are where it names none."""
    there = commands()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        print("usage: anyo COMMAND [choice=option ...] [key=value ...]   (anyo COMMAND --help tells the keys)\n")
        print("\n".join(f"  {command:22}{does}" for command, does in there.items()))
        return
    if name not in there:
        print(f"error: There is no command {name}: use one of {', '.join(there)}.", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    import_module(f".exp.{name.replace('-', '_')}", __package__).main()


def commands() -> dict[str, str]:
    """Returns what each command does, by its name."""
    files = sorted([*COMMANDS.glob("run_*.py"), COMMANDS / "inspect_batches.py"])
    return {file.stem.replace("_", "-"): _first_line(file) for file in files}


def _first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
