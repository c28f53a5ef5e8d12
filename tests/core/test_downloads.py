import hashlib
import io

import pytest

from src.core.downloads import fetch_from_wheel, unpack, write_whole
from src.core.errors import UserError
from tests.data.raw_folders import write_wheel

CONTENT = b"1\t2\t3\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_members_are_taken_from_a_wheel_that_pip_brings(tmp_path):
    wheel = write_wheel(tmp_path / "index", "tinydata", {"tinydata/a.txt": CONTENT, "tinydata/b.txt": b"other"})
    target = tmp_path / "out/deep/a.txt"
    fetch_from_wheel(str(wheel), {"tinydata/a.txt": target}, {"tinydata/a.txt": SHA256})
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_what_pip_cannot_bring_is_named(tmp_path):
    with pytest.raises(UserError, match=r"pip could not download .*absent-1.0-py3-none-any.whl"):
        fetch_from_wheel(str(tmp_path / "absent-1.0-py3-none-any.whl"), {"a": tmp_path / "a"}, {})


def test_nothing_is_written_unless_all_members_are_right(tmp_path):
    wheel = write_wheel(tmp_path, "tinydata", {"a": CONTENT, "b": CONTENT})
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"no item named 'gone'"):
        unpack(wheel, {"a": out / "a", "gone": out / "gone"}, {})
    with pytest.raises(UserError, match=f"b in .* has SHA-256 {SHA256}, not 00"):
        unpack(wheel, {"a": out / "a", "b": out / "b"}, {"a": SHA256, "b": "00"})
    assert not out.exists()


def test_a_torn_download_is_refused(tmp_path):
    whole = write_wheel(tmp_path, "tinydata", {"a": CONTENT}).read_bytes()
    with pytest.raises(UserError, match="the download is no whole zip"):
        unpack(io.BytesIO(whole[: len(whole) // 2]), {"a": tmp_path / "a"}, {})


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    in_the_way = tmp_path / "a.txt"
    in_the_way.mkdir()
    with pytest.raises(OSError):
        write_whole(in_the_way, CONTENT)
    assert list(tmp_path.iterdir()) == [in_the_way]
