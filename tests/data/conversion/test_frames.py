import json

import pytest

from src.core.errors import UserError
from src.data.conversion.frames import Window, read_windows

ROWS = [([9, 9, 9], 1, 4), ([4, 9, 9], 1, 5), ([4, 5, 9], 2, 4), ([4, 5, 4], 3, 6)]  # 9 is padding
WINDOWS = [Window((), 4), Window((4,), 5), Window((4, 5), 4), Window((4, 5, 4), 6)]


def write(path, rows=ROWS):
    if path.suffix == ".jsonl":
        lines = [json.dumps({"seq": seq, "len_seq": length, "next": target}) for seq, length, target in rows]
    else:  # as DLLM2Rec writes it: the next item is a float
        lines = ["seq,len_seq,next", *(f'"{seq}",{length},{target}.0' for seq, length, target in rows)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("name", ["train_data.csv", "train_data.jsonl"])
def test_padding_is_found_and_left_out(tmp_path, name):
    assert read_windows(write(tmp_path / name)) == WINDOWS


def test_a_pickled_frame_reads_the_same(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS, columns=["seq", "len_seq", "next"])
    frame.to_pickle(tmp_path / "train_data.df")
    assert read_windows(tmp_path / "train_data.df") == WINDOWS


def test_items_may_come_with_ratings(tmp_path):
    rows = [([[3, 4], [0, 0]], 1, [7, 5])]
    assert read_windows(write(tmp_path / "Val_data.jsonl", rows)) == [Window(((3, 4.0),), (7, 5.0))]


def test_full_histories_need_no_padding(tmp_path):
    assert read_windows(write(tmp_path / "a.jsonl", [([1, 2], 2, 3)])) == [Window((1, 2), 3)]


def test_an_empty_history_may_be_said_to_be_of_length_0(tmp_path):
    assert read_windows(write(tmp_path / "a.jsonl", [([9, 9], 0, 4), ([4, 9], 1, 5)])) == [
        Window((), 4),
        Window((4,), 5),
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([([1, 8, 9], 1, 2)], "several items behind the end of histories"),
        ([([9, 1, 9], 2, 2)], "row 1: padding"),
        ([([1, 9, 9], 1, 9)], "row 1: padding"),
        ([([1, 2], 3, 4)], "row 1: padding"),
        ([([1, 2], 2, 3), ([1, 2.5], 2, 3)], "row 2: seq"),
        ([([1, 2], 2, "x")], "row 1: seq"),
        ([("x", 2, 3)], "row 1: seq"),
    ],
)
def test_rows_that_are_no_windows_are_told(tmp_path, rows, told):
    with pytest.raises(UserError, match=told):
        read_windows(write(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "seq,next\n[1],2\n", "has no column len_seq; there are seq, next"),
        ("a.jsonl", "{\n", "line 1, is no JSON object"),
        ("a.jsonl", '{"seq": []}\n{}\n', "line 2, is no JSON object with the keys of line 1"),
        ("a.jsonl", "", "there are none"),
        ("a.csv", "", "there are none"),
        ("a.csv", "seq,len_seq,next\n[1],1\n", "row 2"),
        ("a.txt", "seq", r"is none of \.df, \.csv, \.jsonl"),
        ("a.df", "seq", "is not read"),
    ],
)
def test_files_that_are_no_frames_are_told(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=told):
        read_windows(tmp_path / name)
    with pytest.raises(UserError, match=r"There is no .*absent\.df"):
        read_windows(tmp_path / "absent.df")
