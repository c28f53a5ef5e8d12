import torch
from torch import nn

from src.student.caser import Caser, HistoryConvolutions
from tests.student.students import histories

D, L, HEIGHTS, HORIZONTAL, VERTICAL = 5, 6, [2, 3, 6], 4, 3


def caser(seed: int = 0) -> Caser:
    torch.manual_seed(seed)
    model = Caser(15, D, L, HEIGHTS, HORIZONTAL, VERTICAL, dropout=0.0).eval()
    nn.init.normal_(model.items.ids.weight[1:])
    return model


def literal_answers(layers: HistoryConvolutions, rows: list[list[float]]) -> tuple[list[float], list[float]]:
    """Slides each filter over a history's L vectors with nothing but loops."""
    horizontal, vertical = [], []
    for layer, height in zip(layers.horizontal, HEIGHTS, strict=True):
        for weight, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
            answers = [
                bias + sum(weight[d][step] * rows[first + step][d] for step in range(height) for d in range(D))
                for first in range(L - height + 1)
            ]
            horizontal.append(max(max(0.0, answer) for answer in answers))
    for d in range(D):
        for weight, bias in zip(layers.vertical.weight.tolist(), layers.vertical.bias.tolist(), strict=True):
            vertical.append(bias + sum(weight[place] * rows[place][d] for place in range(L)))
    return horizontal, vertical


def test_states_equal_literal_loops():
    model = caser()
    for history in histories():
        shown = history[history > 0]
        newest_last = [0] * (L - len(shown)) + shown.tolist()
        rows = [model.item_table()[item].tolist() for item in newest_last]
        horizontal, vertical = literal_answers(model.convolutions, rows)
        assert len(horizontal) == len(HEIGHTS) * HORIZONTAL and len(vertical) == D * VERTICAL
        expected = model.out(torch.tensor(horizontal + vertical))
        for given in (history, shown):  # with padding behind the last item or without
            torch.testing.assert_close(model.user_representation(given[None])[0], expected, rtol=1e-5, atol=1e-5)


def test_a_pattern_is_found_wherever_it_stands():
    layers = HistoryConvolutions(2, 4, [2], num_horizontal=1, num_vertical=1)
    with torch.no_grad():
        layers.horizontal[0].weight.copy_(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))  # feature 0, then feature 1
        layers.horizontal[0].bias.fill_(-1.5)
    a, b, nothing = [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]
    found = [layers(torch.tensor([rows]))[0].item() for rows in (
        [a, b, nothing, nothing], [nothing, nothing, a, b], [b, a, nothing, nothing], [a, nothing, b, nothing]
    )]  # fmt: skip
    assert found == [0.5, 0.5, 0.0, 0.0]


def test_of_a_longer_history_the_newest_items_are_read():
    model, longer = caser(), torch.tensor([[3, 9, 1, 5, 3, 1, 9, 15]])
    assert torch.equal(model.encode(longer), model.encode(longer[:, -L:]))
