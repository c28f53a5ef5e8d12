import torch

from src.teacher.language_model import encodings
from src.teacher.language_model.encodings import encodings_of
from src.teacher.language_model.tiny import tiny_random
from tests.teacher.test_factory import SHIPPED

TEXTS = ["Alien", "a much longer title", "Alien", "M"]


def test_texts_are_encoded_where_the_model_will_be_trained_and_it_is_put_back(monkeypatch):
    model, tokenizer = tiny_random()
    expected = encodings_of(TEXTS, SHIPPED, model, tokenizer)
    moved, encode = [], encodings.encode_texts
    monkeypatch.setattr(encodings, "best_device", lambda: torch.device("cuda", 1))
    monkeypatch.setattr(model, "to", moved.append)
    monkeypatch.setattr(encodings, "encode_texts", lambda *given: moved.append("encoded") or encode(*given))
    assert torch.equal(encodings_of(TEXTS, SHIPPED, model, tokenizer), expected)
    assert moved == [torch.device("cuda", 1), "encoded", torch.device("cpu")]
