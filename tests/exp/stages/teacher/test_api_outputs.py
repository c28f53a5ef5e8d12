import json
import logging
import shutil
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

from src.core.artefact import read_manifest
from src.core.errors import UserError
from src.exp.program.config import compose_settings
from src.exp.stages.evaluations import every
from src.exp.stages.plan import show_plan
from src.report.names import SUBJECTS
from tests.exp.roads import SMALL, road_in
from tests.exp.stages.whole import whole
from tests.teacher.api.endpoints import NUMBERED, nonsense, ranked, right, serving, slow
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
KEY = "sk-not-to-be-seen-anywhere"
API = [
    "teacher=api", "teacher/llm=tiny_random", "teacher.user_encoder.text_init=0.0", "teacher.api.model=ranker",
    "teacher.api.key_variable=KEY_OF_TEST", "teacher.api.candidates=3", "teacher.prompt.items=2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("KEY_OF_TEST", KEY)


def road_to(folder, url: str, *overrides: str):
    return road_in(folder, DATASET, *API, f"teacher.api.base_url={url}", *overrides)


def teach(road) -> None:
    assert road.go(road.prepared, *road.teaching())


@pytest.fixture(scope="module")
def candidates_made(tmp_path_factory):
    """A folder with all but the teacher's answers; not to be written into."""
    folder = tmp_path_factory.mktemp("candidates")
    road = road_to(folder, "http://localhost:1/v1")
    assert road.go(road.prepared, *road.teaching()[:-1])
    return folder


@pytest.fixture
def folder(candidates_made, tmp_path):
    shutil.copytree(candidates_made, tmp_path / "road")
    return tmp_path / "road"


def rankings(stage):
    found = load_file(stage.folder / "rankings.safetensors")
    return found["example_ids"], found["items"] + 1, found["scores"]


@pytest.mark.slow
def test_candidates_are_the_students_and_stand_in_the_order_of_the_model(folder):
    with serving() as server:
        road = road_to(folder, server.url)
        teach(road)
    ids, items, scores = rankings(road.outputs)
    of_student = rankings(road.candidates)
    assert torch.equal(ids, of_student[0]) and torch.equal(scores, of_student[2])
    assert torch.equal(items[:, 3:], of_student[1][:, 3:])
    for row, offered in zip(items[:, :3].tolist(), of_student[1][:, :3].tolist(), strict=True):
        titles = [DATASET.catalogue.title(item) for item in offered]
        assert row == [offered[place] for place in ranked(titles)]
    outputs = road.outputs.load()
    assert torch.equal(outputs.item_embeddings, road.encodings.load())
    assert not torch.equal(items, of_student[1])


@pytest.mark.slow
def test_a_question_shows_the_newest_of_the_history_and_the_students_best(folder):
    with serving() as server:
        road = road_to(folder, server.url, "teacher.api.concurrency=1")
        teach(road)
    train, candidates = DATASET.examples["train"], road.candidates.load()
    told = {asked.text for asked in server.asked}
    for row in (candidates.row_of_example[train.example_id] >= 0).nonzero().flatten().tolist():
        start, end = int(DATASET.offsets[train.user[row]]), int(train.end[row])
        history = DATASET.item_log[start : start + end][-2:].tolist()
        offered = candidates.candidates[candidates.row_of_example[train.example_id[row]]][:3].tolist()
        seen = "\n".join(f"- {DATASET.catalogue.title(item)}" for item in history)
        titles = [DATASET.catalogue.title(item) for item in offered]
        (asked,) = [
            text for text in told if f":\n{seen}\n\n" in text and [t for _, t in NUMBERED.findall(text)] == titles
        ]
        assert asked.startswith("A viewer watched these movies, oldest first:\n- ")


@pytest.mark.slow
def test_the_manifest_tells_model_refusals_tokens_and_cost_and_no_file_holds_the_key(folder, caplog):
    caplog.set_level(logging.INFO)
    with serving(lambda text: nonsense(text) if "1. Film No. 3 (1953)\n" in text else right(text)) as server:
        road = road_to(folder, server.url, "teacher.api.max_refused=0.9", "teacher.api.price_prompt=2.0")
        teach(road)
    about = read_manifest(road.outputs.folder)
    told = about["result"]
    refused = sum("1. Film No. 3 (1953)\n" in asked.text and "Your last" not in asked.text for asked in server.asked)
    assert told["teacher"] == "ranker" and 0 < refused <= told["refused"] < told["questions"]
    assert about["num_examples"] == told["questions"] >= told["distinct_questions"]
    assert told["prompt_tokens"] + told["completion_tokens"] == server.billed
    assert about["tokens_read"] == told["prompt_tokens"]
    assert told["cost"] == pytest.approx(2e-6 * told["prompt_tokens"])
    assert f"{told['refused']} refused, for which the user encoder's order stands in" in caplog.text
    assert all(KEY.encode() not in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert (folder / "teacher_outputs_dir" / "api_answers.sqlite").is_file()


@pytest.mark.slow
def test_made_again_or_on_another_share_nothing_is_paid_twice(folder):
    with serving() as server:
        road = road_to(folder, server.url)
        teach(road)
        first, before = len(server.asked), rankings(road.outputs)
        teach(road_to(folder, server.url, "rerun=true"))
        assert len(server.asked) == first
        assert all(torch.equal(*pair) for pair in zip(rankings(road.outputs), before, strict=True))
        teach(road_to(folder, server.url, "active.share=1.0"))
        texts = [asked.text for asked in server.asked]
        assert len(texts) > first and len(set(texts)) == len(texts)


@pytest.mark.slow
def test_two_exports_at_once_share_the_store(folder, tmp_path):
    from tests.processes import child

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    store = f"teacher.api.answers={tmp_path / 'answers.sqlite'}"
    with serving(misbehaves=slow(0.2)) as one, serving(misbehaves=slow(0.2)) as other:
        places = ((folder, one.url), (elsewhere, other.url))
        roads = [road_to(each, url, store, "teacher.api.concurrency=2") for each, url in places]
        ends = [child(lambda road=road: teach(road)) for road in roads]
        assert [end(None) for end in ends] == [0, 0]
    texts = [asked.text for server in (one, other) for asked in server.asked]
    assert len(set(texts)) == len(texts) and one.asked and other.asked
    assert (roads[0].outputs.folder / "myrank_train.txt").read_bytes() == (
        roads[1].outputs.folder / "myrank_train.txt"
    ).read_bytes()


def test_one_process_asks_at_a_time(folder):
    outputs, went = road_to(folder, "http://localhost:1/v1").outputs, []

    def ask():
        with outputs.turn():
            went.append("second")

    with outputs.turn():  # what one spends, another would not count
        second = threading.Thread(target=ask)
        second.start()
        second.join(timeout=0.5)
        assert went == []
        went.append("first")
    second.join()
    assert went == ["first", "second"]


@pytest.mark.slow
def test_a_killed_export_goes_on(folder):
    import signal

    from tests.processes import child

    with serving(misbehaves=slow(0.05)) as server:
        road = road_to(folder, server.url, "teacher.api.concurrency=2")
        end = child(lambda: teach(road))
        while len(server.asked) < 8:
            time.sleep(0.01)
        assert end(signal.SIGKILL) == -signal.SIGKILL
        assert not road.outputs.folder.exists()
        teach(road)
    texts = [asked.text for asked in server.asked]
    assert len(texts) - len(set(texts)) <= 2  # what was under way
    assert road.outputs.is_made()


@pytest.mark.slow
def test_the_whole_road_is_gone_with_controls_and_without_a_trained_teacher(folder):
    with serving() as server:
        road = road_to(folder, server.url, "controls=true")
        stages = whole(road)
        assert road.go(*stages)
    assert [stage.label for stage in road.trainings()] == [
        "baseline: training", "user encoder: training", "ensemble of students alone", "item encoding",
        "teacher: candidates", "teacher: export", "distilled: training", "titles alone: training",
        "ensemble of students alone", "self-teacher: export", "self-distilled: training",
    ]  # fmt: skip
    assert [each[0].subject for each in road.evaluations(*SUBJECTS)] == [
        "popularity", "baseline", "titles", "self_distilled", "distilled",
    ]  # fmt: skip
    _, items, scores = rankings(road.self_outputs)
    of_candidates = rankings(road.candidates)
    assert torch.equal(items, of_candidates[1])  # the control is shown the same lists, in the student's order
    torch.testing.assert_close(scores, of_candidates[2])


@pytest.mark.slow
def test_asked_to_it_ranks_the_test_users_too(folder):
    with serving() as server:
        road = road_to(folder, server.url, "teacher.api.evaluate=true", "metrics.filter_seen=true")
        evaluations = road.evaluations("popularity", "teacher")
        assert road.go(road.prepared, *road.teaching(), *every(evaluations))
        asked = len(server.asked)
        with_seen = road.students_alone
    (of_teacher,) = evaluations[1]
    found = of_teacher.figures
    assert found["model"] == "Teacher (api, ranker)" and len(found["rank"]) == len(DATASET.examples["test"])
    pool = with_seen.load()
    test = DATASET.examples["test"]
    batch = DATASET.batch(test, pool.history_length, with_seen=True)
    scores = pool.score(batch)
    for row, rank in enumerate(found["rank"]):
        mine = scores[row].clone()
        mine[batch.seen[row][batch.seen[row] > 0] - 1] = -torch.inf
        best = (mine.argsort(descending=True)[:3] + 1).tolist()
        target = int(batch.target[row])
        if target in best:
            order = [best[place] for place in ranked([DATASET.catalogue.title(item) for item in best])]
            assert rank == order.index(target) + 1
        elif target not in batch.seen[row]:  # one that was seen competes, and is no candidate
            assert rank > 3
    assert asked > 0
    with serving() as server:
        again = road_to(folder, server.url, "teacher.api.evaluate=true", "metrics.filter_seen=true", "metrics.ks=[2]")
        assert again.go(again.prepared, *every(again.evaluations("teacher")))
        assert server.asked == []


# --- keys


def test_what_is_asked_changes_the_outputs_and_who_pays_how_does_not(tmp_path):
    def names(*overrides: str) -> tuple[str, str]:
        road = road_to(tmp_path, "http://localhost:1/v1", *overrides)
        return road.candidates.folder.name, road.outputs.folder.name

    before = names()
    for same in (
        "teacher.api.base_url=http://localhost:2/v1", "teacher.api.key_variable=null", "teacher.api.max_refused=0.5",
        "teacher.api.concurrency=1", "teacher.api.max_tokens_total=5", "teacher.api.price_prompt=1.0",
        "teacher.api.timeout=1", "teacher.api.attempts=1", f"teacher.api.answers={tmp_path / 'a'}",
        "teacher.api.answer_tokens_field=max_completion_tokens", "teacher.api.evaluate=true",
        "teacher.train.lr=0.5", "teacher.lora.r=4",
    ):  # fmt: skip
        assert names(same) == before, same
    for another in (
        "teacher.api.model=other", "teacher.api.candidates=2", "teacher.api.temperature=1.0", "teacher.api.retries=0",
        "teacher.api.answer=json_schema", "teacher.api.answer_tokens=9", "teacher.api.title_characters=9",
        "teacher.api.more={a: 1}", "teacher.prompt.items=3", "teacher.prompt.title_form=reference",
    ):  # fmt: skip
        found = names(another)
        assert found[0] == before[0] and found[1] != before[1], another
    for both in ("active.share=0.6", "teacher.export.k=5", "seed=1", "teacher.user_encoder.train.lr=0.5"):
        assert not set(names(both)) & set(before), both


def test_the_words_around_the_titles_change_the_outputs(tmp_path):
    from src.core.paths import CONF_DIR

    shutil.copytree(CONF_DIR / "prompts", tmp_path / "prompts")
    prompts = f"paths.prompts_dir={tmp_path / 'prompts'}"
    before = road_to(tmp_path, "http://localhost:1/v1").outputs.folder
    assert road_to(tmp_path, "http://localhost:1/v1", prompts).outputs.folder == before
    path = tmp_path / "prompts" / "api" / "movies.txt"
    path.write_text("Seen: [HistoryHere] Offered: [CansHere]")
    assert road_to(tmp_path, "http://localhost:1/v1", prompts).outputs.folder != before
    path.write_text("Seen: [HistoryHere]")
    road = road_to(tmp_path, "http://localhost:1/v1", prompts)
    with pytest.raises(UserError, match=r"movies\.txt .*must hold \[CansHere\] once"):
        road.go(road.prepared, road.outputs)


# --- what it cannot give, and what is missing, is told first


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "teacher.objective=generation teacher.reading=example",
            "teacher.objective must be ranking where teacher.name=api",
        ),
        (
            "teacher.export.item_embeddings=ranking",
            "teacher.export.item_embeddings must be text where teacher.name=api",
        ),
        ("teacher.export.user_states=true", "teacher.export.user_states must be false where teacher.name=api"),
        ("teacher.api.candidates=5", "teacher.api.candidates=5 must not exceed teacher.export.k=4"),
        ("distill=hint", "distill.hint must be 0 where teacher.name=api"),
        ("ensemble=unlike active=all active.share=1.0", "ensemble must be none where teacher.name=api"),
        ("teacher.api.max_cost=1", "teacher.api.max_cost needs teacher.api.price_prompt and"),
        ("teacher.api.base_url=https://me:secret@host/v1", "must be an address with ://, without a password"),
        ("dataset.prompt=books", "dataset.prompt=books has no template"),
    ],
)
def test_what_goes_not_together_is_told_when_the_config_is_read(override, said):
    with pytest.raises(UserError, match=said):
        compose_settings(*SMALL, *API, *override.split())


@pytest.mark.parametrize("what", ["teaching", "evaluations"])
def test_a_model_that_is_not_named_is_told_in_a_dry_run_too(tmp_path, what):
    road = road_to(
        tmp_path, "http://localhost:1/v1", "teacher.api.model=null", "teacher.api.evaluate=true", "dry_run=true"
    )
    stages = road.teaching() if what == "teaching" else every(road.evaluations("teacher"))
    with pytest.raises(UserError, match=r"teacher\.api\.model=null names no model"):
        road.go(road.prepared, *stages)


def test_outputs_that_are_given_ask_nobody(tmp_path):
    (tmp_path / "given").mkdir()
    given = f"distill.teacher_outputs_path={tmp_path / 'given'}"
    road = road_to(tmp_path, "http://localhost:1/v1", "teacher.api.model=null", given, "dry_run=true")
    assert road.go(road.prepared, road.outputs) is False
    assert road.outputs.folder == tmp_path / "given" and not road.outputs.embeds_texts


def test_there_is_nothing_to_train_to_calibrate_or_to_probe(tmp_path):
    road = road_to(tmp_path, "http://localhost:1/v1")
    for stages in ((road.teacher,), (road.user_encoder, road.teacher, road.probe)):
        with pytest.raises(
            UserError, match=r"teacher\.name=api is asked over the network: there is nothing here to train"
        ):
            road.go(road.prepared, *stages)
    with pytest.raises(UserError, match="recommends to nobody"):
        _ = road.who_teaches


def test_a_missing_key_and_missing_titles_are_told_before_anything_is_trained(tmp_path, monkeypatch):
    road = road_to(tmp_path, "http://localhost:1/v1")
    monkeypatch.delenv("KEY_OF_TEST")
    with pytest.raises(UserError, match="environment variable KEY_OF_TEST"):
        road.go(road.prepared, *road.trainings())
    road.prepared.counts["untitled_items"] = 2
    with pytest.raises(UserError, match="2 of 15 items of tiny have no title"):
        road.go(road.prepared, *road.trainings())
    assert not road.baseline.folder.exists()


# --- a dry run


@pytest.mark.slow
def test_a_dry_run_tells_questions_answers_tokens_and_cost_and_makes_nothing(folder, capsys):
    prices = ["teacher.api.price_prompt=100.0", "teacher.api.price_completion=200.0", "dry_run=true"]
    road = road_to(folder, "http://localhost:1/v1", *prices)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert road.go(road.prepared, *road.teaching()) is False
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("teacher: export")]
    with serving() as server:
        teach(road_to(folder, server.url))
    texts = [asked.text for asked in server.asked]
    rows = len(rankings(road.outputs)[0])
    prompt, completion = round(sum(map(len, texts)) / 4), 16 * len(texts)
    cost = (100 * prompt + 200 * completion) / 1e6
    assert told == [
        f"teacher: export: {rows} questions, {len(texts)} of them distinct, 0 of these answered; the others will "
        f"take about {prompt:,} tokens read and {completion:,} written, {prompt + completion:,} tokens, "
        f"cost {cost:.4f} in all (4 characters a token)."
    ]
    shutil.rmtree(road.outputs.folder)
    show_plan(road.teaching())
    assert f"{len(texts)} of these answered; the others will take about 0 tokens" in capsys.readouterr().out


def test_before_candidates_are_known_a_dry_run_tells_roughly(tmp_path, capsys):
    road = road_to(tmp_path, "http://localhost:1/v1", "dry_run=true", "teacher.api.evaluate=true")
    road.go(road.prepared, *road.teaching(), *every(road.evaluations("teacher")))
    told = capsys.readouterr().out
    assert f"evaluation: teacher: {len(DATASET.examples['test'])} questions, which will take about" in told
    asked = round(0.5 * len(DATASET.examples["train"]))
    assert f"teacher: export: {asked} questions, which will take about" in told
    assert json.dumps("roughly: the candidates are not known yet")[1:-1] in told
    assert not (tmp_path / "teacher_outputs_dir").exists()


@pytest.mark.slow
def test_some_questions_can_be_looked_at_before_any_is_asked(folder):
    road = road_to(folder, "http://localhost:1/v1")
    seen = road.outputs.some_questions(3)
    assert len(seen) == 3
    with serving() as server:
        teach(road_to(folder, server.url))
    assert set(seen) <= {asked.text for asked in server.asked}
