"""Finds links in Markdown documents that lead nowhere: files that are not there, headings that no document has.

python -m tests.links README.md docs/results.md
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def dead_links(document: Path) -> list[str]:
    """Returns `file: target` of every relative link of a document that leads nowhere."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [first or second for first, second in LINK.findall(text)]
    return [f"{document}: {target}" for target in targets if "://" not in target and not _leads(document, target)]


def _leads(document: Path, target: str) -> bool:
    path, _, heading = target.partition("#")
    there = document.parent / path if path else document
    return there.exists() and (not heading or heading in _headings(there))


def _headings(document: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def main() -> None:
    found = [link for document in sys.argv[1:] for link in dead_links(Path(document))]
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
