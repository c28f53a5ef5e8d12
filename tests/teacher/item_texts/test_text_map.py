import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from src.core.errors import UserError
from src.core.seed import generator
from src.data.rows import WindowBatch
from src.teacher.item_texts.likeness import TextLikeness
from src.teacher.item_texts.settings import EncoderSettings
from src.teacher.item_texts.text_map import TextMap, next_text_loss

N, D = 14, 5
ENCODINGS = torch.randn(N, D, generator=generator(0)) + 3
HISTORY = torch.tensor([[3, 7, 1, 9], [12, 5, 0, 0], [2, 0, 0, 0]])
TARGET = torch.tensor([[0, 1, 9, 3], [5, 14, 0, 0], [1, 0, 0, 0]])  # the first has no answer; one is taken twice
BATCH = WindowBatch(HISTORY, TARGET, torch.zeros_like(TARGET))
SETTINGS = EncoderSettings(epochs=1, dropout=0.0, decay=0.4, temperature=0.2)


def a_map(strength: float = 0.5) -> TextMap:
    """One that has learned something."""
    made = TextMap.of(ENCODINGS, strength)
    torch.nn.init.normal_(made.weight, std=0.5, generator=generator(1))
    return made


def literal_loss(vectors: torch.Tensor) -> float:
    """The loss in plain words: each target among the items that its window does not hold."""
    losses = []
    for history, target in zip(HISTORY.tolist(), TARGET.tolist(), strict=True):
        for place, answer in enumerate(target):
            if not answer:
                continue
            weights = [0.4 ** (place - earlier) for earlier in range(place + 1)]
            query = sum(w * vectors[item - 1] for w, item in zip(weights, history, strict=False)) / sum(weights)
            competing = [answer, *(item for item in range(1, N + 1) if item != answer and item not in history)]
            scores = torch.stack([query @ vectors[item - 1] for item in competing]) / 0.2
            losses.append(-scores.log_softmax(0)[0])
    return float(torch.stack(losses).mean())


def test_before_it_learns_a_map_is_the_likeness_of_whitened_encodings():
    made = TextMap.of(ENCODINGS, 0.5)
    expected = TextLikeness(ENCODINGS, 0.5, 0.5).items.ids.weight[1:]
    torch.testing.assert_close(made.encodings(ENCODINGS), expected, rtol=1e-5, atol=1e-6)
    assert made.encodings(ENCODINGS).norm(dim=1).allclose(torch.ones(N))


@pytest.mark.parametrize("negatives", [N, 500])
def test_the_loss_is_that_of_the_likeness_among_items_that_were_not_taken(negatives):
    made = a_map()
    x, settings = made.whitened(ENCODINGS), SETTINGS.model_copy(update={"negatives": negatives})
    loss = next_text_loss(made, x, BATCH, settings, generator(0))
    assert float(loss.detach()) == pytest.approx(literal_loss(made.encodings(ENCODINGS)), rel=1e-5)
    loss.backward()
    assert made.weight.grad.isfinite().all() and made.weight.grad.abs().max() > 0


def test_of_drawn_items_the_loss_is_among_these_and_those_of_the_batch():
    made = a_map()
    x, settings = made.whitened(ENCODINGS), SETTINGS.model_copy(update={"negatives": 2})
    drawn = [float(next_text_loss(made, x, BATCH, settings, generator(seed)).detach()) for seed in range(20)]
    whole = literal_loss(made.encodings(ENCODINGS))
    assert len(set(drawn)) > 3 and max(drawn) <= whole + 1e-6  # fewer compete


def test_dropout_is_of_training_alone():
    made, settings = a_map(), SETTINGS.model_copy(update={"dropout": 0.5})
    x = made.whitened(ENCODINGS)
    torch.manual_seed(0)
    in_training = {float(next_text_loss(made, x, BATCH, settings, generator(0)).detach()) for _ in range(3)}
    assert len(in_training) == 3
    evaluated = float(next_text_loss(made.eval(), x, BATCH, settings, generator(0)).detach())
    assert evaluated == pytest.approx(literal_loss(made.encodings(ENCODINGS)), rel=1e-5)


def test_a_map_is_kept_with_what_it_needs_for_texts_that_come_later(tmp_path):
    made = a_map(0.3)
    made.save(tmp_path / "map.safetensors")
    later = torch.randn(3, D, generator=generator(5)) + 3
    read = TextMap.load(tmp_path / "map.safetensors")
    assert torch.equal(read.encodings(later), made.encodings(later))
    x = F.normalize((later.double() - ENCODINGS.double().mean(0)) @ made.axes, dim=1).float()
    torch.testing.assert_close(read.encodings(later), F.normalize(x + x @ made.weight, dim=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 5), (5,), (6, 6)])
def test_a_file_that_holds_no_map_is_refused(tmp_path, shape):
    save_file({"mean": torch.zeros(5), "axes": torch.zeros(5, 5), "weight": torch.zeros(shape)}, tmp_path / "m")
    with pytest.raises(UserError, match="holds no map of encodings"):
        TextMap.load(tmp_path / "m")
