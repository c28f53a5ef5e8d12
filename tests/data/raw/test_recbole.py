import hashlib

import pytest

from src.core.errors import UserError
from src.data.raw import recbole
from src.data.raw.movielens import read_ratings, read_u_item
from tests.data.raw_folders import write_wheel

LOG = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n186\t2\t3\t891717742\n"
ITEMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "2\tAmélie\t2001\tChildren's Film-Noir\n242\tunkonwn\tunkonwn\tunknown\n"
)


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    contents = {name: text.encode() for name, text in zip(recbole.SHA256, (LOG, ITEMS), strict=True)}
    pins = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(recbole, "SHA256", pins)
    return str(write_wheel(tmp_path / "index", "recbole", contents))


def test_the_log_is_the_publishers_byte_for_byte_and_the_items_say_the_same(tmp_path, wheel):
    recbole.fetch_ml_100k(wheel, tmp_path)
    assert (tmp_path / "u.data").read_text() == "196\t242\t3\t881250949\n186\t2\t3\t891717742\n"
    assert read_ratings(tmp_path / "u.data", "\t", None).row(0) == (196, 242, 3.0, 881250949)
    assert read_u_item(tmp_path / "u.item").rows() == [
        (2, "Amélie (2001)", "Amélie (2001); Children's, Film-Noir"),
        (242, "unknown", "unknown"),
    ]


def test_another_version_of_the_package_is_refused(tmp_path, wheel, monkeypatch):
    monkeypatch.setattr(recbole, "SHA256", dict.fromkeys(recbole.SHA256, "00"))
    with pytest.raises(UserError, match=r"has SHA-256 .*, not 00"):
        recbole.fetch_ml_100k(wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()
