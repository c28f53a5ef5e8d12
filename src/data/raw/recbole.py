"""MovieLens-100K as the RecBole wheel holds it, put back into its publisher's layout.

RecBole's log is the publisher's `u.data` under a header line, byte for byte. Its item file keeps id, title, year and
genres; dates and links are gone and stay empty here, so this `u.item` is not the publisher's, though every title and
genre in it is.
"""

import tempfile
from pathlib import Path

from ...core.downloads import fetch_from_wheel, write_whole
from .movielens import ML_100K_GENRES

FOLDER = "recbole/dataset_example/ml-100k"
SHA256 = {
    f"{FOLDER}/ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    f"{FOLDER}/ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
UNKNOWN = "unkonwn"  # RecBole's spelling, as title and as year, of the one movie that the publisher calls "unknown"


def fetch_ml_100k(requirement: str, folder: Path) -> None:
    """Writes `u.data` and `u.item` into `folder`.

    Raises:
        UserError: The wheel cannot be had, or holds something else.
    """
    with tempfile.TemporaryDirectory() as temporary:
        members = {member: Path(temporary) / Path(member).name for member in SHA256}
        fetch_from_wheel(requirement, members, SHA256)
        log, items = (path.read_text(encoding="utf-8") for path in members.values())
    write_whole(folder / "u.data", log.split("\n", 1)[1].encode())
    lines = [_publisher_line(line) for line in items.rstrip("\n").split("\n")[1:]]
    write_whole(folder / "u.item", "".join(lines).encode("latin-1"))


def _publisher_line(line: str) -> str:
    """`1⇥Toy Story⇥1995⇥Animation Children's Comedy` → `1|Toy Story (1995)||||0|0|0|1|1|1|0…`."""
    item, name, year, genres = line.split("\t")
    title = "unknown" if name == UNKNOWN else f"{name} ({year})"
    flags = [str(int(genre in genres.split(" "))) for genre in ML_100K_GENRES]
    return "|".join([item, title, "", "", "", *flags]) + "\n"
