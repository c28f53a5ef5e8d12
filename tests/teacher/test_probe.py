import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from src.core.metrics import log_likelihood_of_target, rank_of_target
from src.core.seed import generator
from src.teacher.gating import OneExpert
from src.teacher.ilora_model import ILoRAModel
from src.teacher.probe import AS_IT_IS, GATES, GATES_OF_OTHERS, alterations, probe
from src.teacher.user_pass import UserPassModel
from tests.exp.roads import road_in
from tests.teacher.teachers import HISTORY_LENGTH, prompt_builder, tiny_teacher
from tests.worlds import tiny_dataset

DATASET = tiny_dataset()
BATCHES = [
    DATASET.batch(DATASET.examples["val"].subset(rows), HISTORY_LENGTH, with_seen=True)
    for rows in torch.arange(12).split(7)
]
KINDS = [ILoRAModel, UserPassModel]
every_kind = pytest.mark.parametrize("kind", KINDS)


def teacher(kind=ILoRAModel, **settings) -> ILoRAModel:
    """A teacher for whom everything that it is shown makes a difference."""
    model = tiny_teacher(DATASET, kind=kind, prompt_items=HISTORY_LENGTH, **settings)
    nn.init.normal_(model.router.layer.weight if hasattr(model.router, "layer") else next(model.router.parameters()))
    return model


def probed(model: ILoRAModel, name: str):
    return probe(model, BATCHES, name, generator(0))


@every_kind
def test_as_it_is_is_the_language_model_alone(kind):
    model, seen = teacher(kind), []
    found = probe(model, BATCHES, AS_IT_IS, generator(0), seen.append)
    scores = [model.own_scores(batch) for batch in BATCHES]
    ranks = [
        rank_of_target(*each)
        for each in zip(scores, (b.target for b in BATCHES), (b.seen for b in BATCHES), strict=True)
    ]
    likelihoods = [log_likelihood_of_target(s, b.target, b.seen) for s, b in zip(scores, BATCHES, strict=True)]
    assert torch.equal(found.rank, torch.cat(ranks))
    assert found.cross_entropy == pytest.approx(-float(torch.cat(likelihoods).mean()), rel=1e-5)
    assert seen == [7, 5]


@every_kind
@pytest.mark.parametrize("gate_per_layer", [False, True])
def test_each_alteration_changes_something_and_leaves_nothing_behind(kind, gate_per_layer):
    model = teacher(kind, gate_per_layer=gate_per_layer)
    names = alterations(model)
    assert names[0] == AS_IT_IS and {*GATES, *GATES_OF_OTHERS} <= set(names) and len(names) == 10
    before = {name: value.clone() for name, value in model.state_dict().items()}
    entropies = [probed(model, name).cross_entropy for name in names]
    assert len(set(entropies)) == len(names)
    assert probed(model, AS_IT_IS).cross_entropy == entropies[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_failure_leaves_nothing_behind():
    model = teacher()
    prompts, router = model.prompts, model.router
    broken = replace(BATCHES[0], target=BATCHES[0].target[:2])
    for name in ("titles of other items", "equal gates"):
        with pytest.raises((RuntimeError, IndexError, ValueError)):
            probe(model, [broken], name, generator(0))
        assert model.prompts is prompts and model.router is router


def others() -> list[int]:
    return torch.randperm(DATASET.num_items, generator=generator(0)).tolist()


@every_kind
def test_titles_of_other_items_stand_in_the_prompts_and_nowhere_else(kind):
    model, same = teacher(kind), teacher(kind)
    titles = DATASET.catalogue.titles
    same.prompts = prompt_builder([titles[other] for other in others()], HISTORY_LENGTH)
    if kind is UserPassModel:
        same.user_prompts = type(same.user_prompts)(same.prompts)
    assert probed(model, "titles of other items").cross_entropy == probed(same, AS_IT_IS).cross_entropy


@every_kind
def test_texts_of_other_items_stand_on_the_item_side(kind):
    model, same = teacher(kind), teacher(kind)
    same.item_texts = same.item_texts[others()]
    assert probed(model, "texts of other items").cross_entropy == probed(same, AS_IT_IS).cross_entropy


@every_kind
def test_without_ids_the_users_students_vectors_do_not_matter(kind):
    model, same = teacher(kind, gate_input="h_seq"), teacher(kind, gate_input="h_seq")
    nn.init.normal_(same.user_encoder.items.ids.weight[1:])
    same.ids_of_items = model.ids_of_items = False  # what is left are the markers
    left = [probed(each, "no ids at markers").cross_entropy for each in (model, same)]
    assert left[0] == left[1] != probed(model, AS_IT_IS).cross_entropy


@every_kind
def test_without_adapters_it_is_the_frozen_language_model(kind):
    model, same = teacher(kind), teacher(kind)
    for name, parameter in same.named_parameters():
        if name.endswith("lora_B"):
            nn.init.zeros_(parameter)
    found, wanted = probed(model, "no adapters"), probed(same, AS_IT_IS)
    assert found.cross_entropy == pytest.approx(wanted.cross_entropy, rel=1e-6)


def test_gates_are_altered_as_they_are_called():
    gates = torch.randn(50, 2, 4).softmax(-1)
    altered = {name: how(gates) for name, how in GATES.items()}
    assert torch.equal(altered["equal gates"], torch.full_like(gates, 0.25))
    assert torch.equal(altered["gates in reverse order"], gates[..., [3, 2, 1, 0]])
    assert not altered["no adapters"].any()


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_gates_of_others_are_of_all_that_are_read_however_many_are_read_at_once(at_once):
    gates = torch.randn(50, 2, 4).softmax(-1)
    altered = {}
    for name, of in GATES_OF_OTHERS.items():
        how = of(gates, generator(0))
        altered[name] = torch.cat([how(part) for part in gates.split(at_once)])
    assert torch.equal(altered["the mean gates"], gates.mean(0).expand_as(gates))
    of_others = altered["gates of other histories"]
    assert (of_others != gates).flatten(1).any(1).all()
    assert torch.equal(of_others.flatten(1).unique(dim=0), gates.flatten(1).unique(dim=0))


@every_kind
@pytest.mark.parametrize("name", list(GATES_OF_OTHERS))
def test_one_history_read_at_a_time_has_the_gates_of_others_too(kind, name):
    model = teacher(kind, max_tokens=1)
    assert probed(model, name).cross_entropy != probed(model, AS_IT_IS).cross_entropy
    whole = teacher(kind)
    if name == "the mean gates":
        found, wanted = (probed(each, name).cross_entropy for each in (model, whole))
        assert found == pytest.approx(wanted, rel=1e-5)


def test_what_a_teacher_does_not_have_is_not_taken_away():
    names = alterations(teacher(shows_ids=False))
    assert not [name for name in names if "ids" in name]
    model = teacher()
    model.router = OneExpert()
    assert [name for name in alterations(model) if name in (*GATES, *GATES_OF_OTHERS)] == ["no adapters"]
    with pytest.raises(KeyError, match="no such"):
        probed(model, "no such")


@pytest.mark.slow
def test_the_stage_tells_what_was_lost(tmp_path):
    road = road_in(tmp_path, DATASET, "probe.max_examples=9")
    assert road.go(road.prepared, road.user_encoder, road.teacher, road.probe)
    found = json.loads((road.probe.folder / "probe.json").read_text())
    names = alterations(road.teacher.load())
    assert list(found["cross_entropy"]) == names and found["examples"] == 9
    assert [each["model"] for each in found["comparison"]["differences"]] == names[1:]
    table = road.probe.result().table()
    assert [row[0] for row in table.rows] == names
    assert all(len(row) == len(table.header) for row in table.rows)
