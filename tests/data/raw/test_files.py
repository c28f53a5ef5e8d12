import hashlib
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from src.core.errors import UserError
from src.data.raw import files
from src.data.raw.files import find_raw_folder
from src.data.settings import DatasetSettings, RawFile
from tests.data.raw_folders import write


def settings(publisher: str | None = None, wheel: str | None = None, **sha256: list[str]) -> DatasetSettings:
    """Settings of a dataset with these files, by their names without `.txt`."""
    files = [RawFile(name=f"{name}.txt", sha256=accepted) for name, accepted in sha256.items()]
    return DatasetSettings(
        name="tiny", reader="movielens_100k", raw_dir="raw", files=files, publisher=publisher, wheel=wheel
    )


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """The URL of a zip that a publisher on this machine has."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    path = tmp_path / "publisher/raw.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("raw/log.txt", "log")
        archive.writestr("raw/items.txt", "items")
        archive.writestr("raw/unwanted.txt", "x")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=path.parent)) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/raw.zip"
        server.shutdown()


def test_the_first_folder_that_has_all_files_wins(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write(first / "raw/log.txt", "only half of it")
    write(second / "raw/log.txt", "log")
    write(second / "raw/items.txt", "items")
    folder, sha256 = find_raw_folder(settings(log=[], items=[sha("items")]), [first, second])
    assert folder == second / "raw"
    assert sha256 == {"log.txt": sha("log"), "items.txt": sha("items")}


def test_any_of_several_pinned_contents_is_accepted(tmp_path):
    write(tmp_path / "raw/log.txt", "log")
    find_raw_folder(settings(log=[sha("other"), sha("log")]), [tmp_path])


def test_a_truncated_pinned_file_is_refused_and_not_replaced(tmp_path, publisher):
    path = write(tmp_path / "raw/log.txt", "lo")
    with pytest.raises(UserError, match=r"raw/log.txt has SHA-256 .* truncated or another version"):
        find_raw_folder(settings(log=[sha("log")], publisher=publisher), [tmp_path])
    assert path.read_text() == "lo"


def test_missing_files_come_from_the_publisher_into_the_last_folder(tmp_path, publisher):
    first, last = tmp_path / "first", tmp_path / "data/raw"
    folder, sha256 = find_raw_folder(settings(log=[sha("log")], items=[], publisher=publisher), [first, last])
    assert folder == last / "raw"
    assert sorted(path.name for path in folder.iterdir()) == ["items.txt", "log.txt"]
    assert sha256["log.txt"] == sha("log")
    assert list(last.iterdir()) == [folder]  # no temporary folder is left
    assert not first.exists()


def test_a_file_that_is_there_already_is_kept(tmp_path, publisher):
    write(tmp_path / "raw/items.txt", "my own items")
    folder, sha256 = find_raw_folder(settings(log=[], items=[], publisher=publisher), [tmp_path])
    assert (folder / "items.txt").read_text() == "my own items"
    assert sha256["items.txt"] == sha("my own items")


def test_a_download_with_other_contents_is_not_kept(tmp_path, publisher):
    data = tmp_path / "data"
    with pytest.raises(UserError, match=r"could not be fetched .*has SHA-256"):
        find_raw_folder(settings(log=[sha("another")], publisher=publisher), [data])
    assert list(data.iterdir()) == []


def test_when_the_publisher_is_out_of_reach_the_package_is_asked(tmp_path, publisher, monkeypatch):
    asked = []

    def fetch(requirement, folder):
        asked.append(requirement)
        write(folder / "log.txt", "log")

    monkeypatch.setattr("src.data.raw.recbole.fetch_ml_100k", fetch)
    gone = publisher.replace("raw.zip", "gone.zip")
    folder, _ = find_raw_folder(settings(log=[sha("log")], publisher=gone, wheel="tiny==1.0"), [tmp_path])
    assert asked == ["tiny==1.0"]
    assert (folder / "log.txt").read_text() == "log"


def test_when_all_fails_one_sentence_says_what_where_and_how_to_mend(tmp_path, publisher):
    first, last = tmp_path / "first", tmp_path / "last"
    write(first / "raw/log.txt", "log")
    gone = publisher.replace("raw.zip", "gone.zip")
    wheel = str(tmp_path / "absent-1.0-py3-none-any.whl")
    with pytest.raises(UserError) as error:
        find_raw_folder(settings(log=[], items=[], publisher=gone, wheel=wheel), [first, last])
    message = str(error.value)
    for part in ("log.txt, items.txt", f"only items.txt in {first / 'raw'} is missing", str(last / "raw"), gone, wheel):
        assert part in message
    assert message.endswith(f"put them into {last / 'raw'}, or set ANYO_DATA_DIR to a folder that holds raw/.")
    assert "\n" not in message


def test_nothing_is_fetched_where_it_was_not_asked_for(tmp_path, publisher):
    with pytest.raises(UserError, match=r"raw files of tiny are not there yet.*run_prepare dataset=tiny` first"):
        find_raw_folder(settings(log=[], publisher=publisher), [tmp_path / "data"], fetch=False)
    assert not (tmp_path / "data").exists()
    write(tmp_path / "data/raw/log.txt", "log")
    folder, _ = find_raw_folder(settings(log=[], publisher=publisher), [tmp_path / "data"], fetch=False)
    assert folder == tmp_path / "data/raw"


def test_without_any_source_the_message_says_so(tmp_path):
    with pytest.raises(UserError, match=r"have no source to fetch from: put them into"):
        find_raw_folder(settings(log=[]), [tmp_path])


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "raw/log.txt", "log")

    def refuse(*_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "remembered_sha256", refuse)
    with pytest.raises(UserError, match=r"raw/log.txt cannot be read \(Permission denied\): put the publisher's file"):
        find_raw_folder(settings(log=[]), [tmp_path])
