import torch

from src.student.layers.causal_filter import CausalFilter

L, W = 12, 4


def filter_of(items: int = W, length: int = L) -> CausalFilter:
    torch.manual_seed(0)
    return CausalFilter(3, items, length)


def test_the_filter_equals_its_formula():
    layer, x = filter_of(), torch.randn(2, L, 3, generator=torch.Generator().manual_seed(1))
    lobe = [1.0, *(float(torch.sin(torch.tensor(torch.pi * k / W)) / (torch.pi * k / W)) for k in range(1, W))]
    for row, found in zip(x, layer(x), strict=True):
        for t in range(L):
            low = sum(lobe[k] / sum(lobe) * row[t - k] for k in range(min(W, t + 1)))
            torch.testing.assert_close(found[t], low + layer.beta**2 * (row[t] - low), rtol=1e-4, atol=1e-5)


def test_it_is_the_main_lobe_of_the_published_filter_at_its_last_place():
    """The published one keeps the lowest frequencies of a whole history: here what an impulse adds at its end."""
    length, kept = 50, 5
    impulse = torch.eye(length)
    frequencies = torch.fft.rfft(impulse, dim=1, norm="ortho")
    frequencies[:, kept // 2 + 1 :] = 0
    low = torch.fft.irfft(frequencies, n=length, dim=1, norm="ortho")[:, -1].flip(0)  # by how far back
    width = length // kept
    published = low[:width] / low[:width].sum()  # up to the first place without weight
    assert low[width].abs() < 1e-6
    torch.testing.assert_close(filter_of(width, length).weights[:width], published, rtol=0.03, atol=1e-3)


def test_what_does_not_change_passes_as_it_is():
    layer = filter_of()
    constant = torch.randn(1, 1, 3).expand(1, L, 3)
    torch.testing.assert_close(layer(constant)[:, W - 1 :], constant[:, W - 1 :])
