from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from src.data.conversion.frames import Window
from src.data.conversion.windows import HISTORY, SPLITS, as_log, put_together

LENGTH = 3


def windows_of(log, first=0):
    return [Window(tuple(log[max(0, end - LENGTH) : end]), log[end]) for end in range(first, len(log))]


def frames(train=(), val=(), test=()):
    return {"train": [*train], "val": [*val], "test": [*test]}


def test_a_users_windows_are_one_log_again():
    (log,) = put_together(frames(windows_of([1, 2, 3, 4, 5, 6])))
    assert (log.items, log.parts) == ([1, 2, 3, 4, 5, 6], ["train"] * 6)


def test_users_one_after_the_other_are_kept_apart():
    first, second = put_together(frames([*windows_of([1, 2, 3, 4, 5]), *windows_of([6, 2, 3, 4, 7])]))
    assert first.items == [1, 2, 3, 4, 5] and second.items == [6, 2, 3, 4, 7]


def test_users_mixed_by_time_are_told_apart_by_their_items():
    ones, others = windows_of([1, 2, 3, 4]), windows_of([5, 6, 7, 8])
    mixed = [window for pair in zip(ones, others, strict=True) for window in pair]
    assert [log.items for log in put_together(frames(mixed))] == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_val_and_test_go_on_where_train_ended():
    all_of_it = windows_of([1, 2, 3, 4, 5, 6])
    (log,) = put_together(frames(all_of_it[:4], all_of_it[4:5], all_of_it[5:]))
    assert log.parts == ["train"] * 4 + ["val", "test"]


def test_the_history_of_a_user_who_is_not_in_train_is_never_trained_on():
    train = windows_of([1, 2, 3])
    _, log = put_together(frames(train, [Window((7, 8, 9), 4)]))
    assert (log.items, log.parts) == ([7, 8, 9, 4], [HISTORY] * 3 + ["val"])


def test_the_log_is_written_with_places_as_times():
    table = as_log(put_together(frames([Window((), 4), Window((4,), 5)], [Window((7,), 4)])))
    assert table.rows() == [
        ("0", "4", 0, "train"), ("0", "5", 1, "train"), ("1", "7", 0, HISTORY), ("1", "4", 1, "val"),
    ]  # fmt: skip
    rated = as_log(put_together(frames([Window(((3, 4.0),), (7, 5.0))])))
    assert rated["item"].to_list() == ["3", "7"] and rated["rating"].to_list() == [4.0, 5.0]


logs = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=7), min_size=1, max_size=6)


@given(logs, st.randoms(use_true_random=False))
def test_no_window_is_lost_or_changed_whatever_their_order(logs, random):
    given_frames = frames()
    for log in logs:
        for window in windows_of(log):
            given_frames[random.choice(SPLITS)].append(window)
    for windows in given_frames.values():
        random.shuffle(windows)
    length = max(len(window.history) for windows in given_frames.values() for window in windows)
    found = {split: Counter() for split in (*SPLITS, HISTORY)}
    for log in put_together(given_frames):
        for end, part in enumerate(log.parts):
            found[part][Window(tuple(log.items[max(0, end - length) : end]), log.items[end])] += 1
        order = [(HISTORY, *SPLITS).index(part) for part in log.parts]
        assert order == sorted(order)
    for split in ("val", "test"):
        assert found[split] == Counter(given_frames[split])
    assert not Counter(given_frames["train"]) - found["train"]
