"""The files of a Stable Diffusion 1.x: of all ages and layouts, what Scumble ships for single ones, and damaged ones."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from scumble.diffusion import convert
from scumble.diffusion.contents import read_contents
from scumble.diffusion.families import identify, sd1
from scumble.diffusion.families.base import Identity, Model, Prediction
from scumble.diffusion.families.latent import TOKENIZER
from scumble.diffusion.families.unet_model import UNetModel
from scumble.diffusion.prompts import parse
from scumble.protocol.errors import ModelUnreadable, OutOfMemory

from .test_contents import torch_zip
from .test_sd1 import edit, load
from .tiny import make_sd1_folder, make_sd1_single_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sd1_folder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def shipped(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configurations of the tiny model in the place of those that we ship for single files."""
    files = tmp_path / "files"
    files.mkdir()
    for part in ("unet", "vae", "text_encoder"):
        shutil.copy(folder / part / "config.json", files / f"{part}.json")
    shutil.copy(folder / "scheduler" / "scheduler_config.json", files / "scheduler.json")
    monkeypatch.setattr(sd1, "FILES", files)
    monkeypatch.setattr(sd1, "TOKENIZER", folder / "tokenizer")


def parameters(model: Any) -> dict[str, torch.Tensor]:
    parts = {"unet": model._unet, "vae": model._vae, "text_encoder": model._text_encoder}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}


def assert_same_weights(one: Model, other: Model) -> None:
    first, second = parameters(one), parameters(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(("inpaint", "prediction"), [(False, "epsilon"), (True, "v_prediction")])
def test_a_single_file_holds_the_same_model_as_the_folder(
    tmp_path: Path, inpaint: bool, prediction: Prediction
) -> None:
    expected = load(make_sd1_folder(tmp_path / "folder", inpaint, prediction), tmp_path / "cache")
    path = make_sd1_single_file(tmp_path / "model.safetensors", inpaint, prediction)
    model = load(path, tmp_path / "cache", Identity("sd1", "single", inpaint, prediction, 512))
    assert_same_weights(model, expected)
    assert model.scheduler_config["prediction_type"] == prediction
    torch.testing.assert_close(
        model.encode_prompt(parse("a red circle")).tokens, expected.encode_prompt(parse("a red circle")).tokens
    )


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_a_file_that_does_not_say_what_it_predicts_is_asked(
    predicts: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of what was trained from it predicts v (FluffyRock, EasyFluff); only a file beside it for the web UI says so."""
    picture = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    share = 0.068  # of the picture in the input, at the noisiest timestep

    def answer(self: Any, latents: torch.Tensor, *_: Any) -> torch.Tensor:
        return latents - share * picture if predicts == "epsilon" else share * latents - picture

    monkeypatch.setattr(UNetModel, "predict", answer)
    path = make_sd1_single_file(tmp_path / "model.safetensors", prediction="")
    model = load(path, tmp_path / "cache", Identity("sd1", "single", False, "epsilon", 512))
    assert model.identity.prediction == model.scheduler_config["prediction_type"] == predicts


def test_the_shipped_descriptions_are_those_of_stable_diffusion() -> None:
    """859.52, 83.65 and 123.06 million parameters, in as many tensors as the published files have."""
    from scumble.diffusion.families.unet_model import _build, _configs

    components = ("unet", "vae", "text_encoder")
    identity = Identity("sd1", "single", False, "epsilon", 512)
    modules = _build(_configs(Path(), identity, components, sd1.FILES), components)
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    assert counts == {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}
    assert {name: len(module.state_dict()) for name, module in modules.items()} == {
        "unet": 686,
        "vae": 248,
        "text_encoder": 196,
    }
    configs = _configs(Path(), replace(identity, inpaint=True), components, sd1.FILES)
    assert _build(configs, ("unet",))["unet"].conv_in.weight.shape == (320, 9, 3, 3)


def test_the_shipped_tokenizer_is_that_of_clip() -> None:
    from scumble.diffusion.families.unet_model import _tokenizer

    assert _tokenizer(TOKENIZER)("a Photo of a\n cat").input_ids == [
        49406, 320, 1125, 539, 320, 2368, 49407
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "single"])
@pytest.mark.usefixtures("shipped")
def test_nothing_touches_the_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"asked the network: {arguments}")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    if kind == "folder":
        model = load(folder, tmp_path / "cache")
    else:
        path = make_sd1_single_file(tmp_path / "model.safetensors")
        model = load(path, tmp_path / "cache", Identity("sd1", "single", False, "epsilon", 512))
    assert model.encode_prompt(parse("a red circle")).tokens.shape == (1, 77, 32)


def test_nothing_is_printed(copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(copy / "unet" / "config.json", word_that_nobody_knows=1)
    load(copy, tmp_path / "cache")
    assert capfd.readouterr() == ("", "")


def rename(change: Callable[[str], str]) -> Callable[[Path], None]:
    def run(file: Path) -> None:
        from safetensors.torch import load_file, save_file

        save_file({change(key): value for key, value in load_file(file).items()}, file)

    return run


def old_attention(key: str) -> str:
    for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return key


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("vae/diffusion_pytorch_model.safetensors", old_attention),
        ("text_encoder/model.safetensors", lambda key: key.removeprefix("text_model.")),
    ],
    ids=["autoencoder of diffusers 0.17", "text encoder of transformers 5.6"],
)
def test_names_of_all_ages_are_read(
    copy: Path, tmp_path: Path, model: Model, file: str, change: Callable[[str], str]
) -> None:
    before = (copy / file).read_bytes()
    rename(change)(copy / file)
    assert (copy / file).read_bytes() != before
    assert_same_weights(load(copy, tmp_path / "cache"), model)


def test_half_precision_variants_are_read(copy: Path, tmp_path: Path, model: Model) -> None:
    for part in ("unet", "vae"):
        file = copy / part / "diffusion_pytorch_model.safetensors"
        file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert_same_weights(load(copy, tmp_path / "cache"), model)


def test_shards_are_read(copy: Path, tmp_path: Path, model: Model) -> None:
    unet = UNet2DConditionModel.from_pretrained(str(copy / "unet"), local_files_only=True)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(copy / "unet", max_shard_size="4MB")
    assert len(list((copy / "unet").glob("*.safetensors"))) > 1
    assert_same_weights(load(copy, tmp_path / "cache"), model)


# ---- what is damaged -------------------------------------------------------------------------------------------------


def damage_pickle(copy: Path) -> None:
    (copy / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(torch_zip())


def damage_bin_only(copy: Path) -> None:
    (copy / "text_encoder" / "model.safetensors").unlink()
    (copy / "text_encoder" / "pytorch_model.bin").write_bytes(torch_zip())


def damage_cut(copy: Path) -> None:
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def damage_missing_tensor(copy: Path) -> None:
    rename(lambda key: key.replace("conv_in.bias", "conv_in.other"))(
        copy / "vae" / "diffusion_pytorch_model.safetensors"
    )


def damage_shape(copy: Path) -> None:
    edit(copy / "text_encoder" / "config.json", intermediate_size=64)


def damage_description(copy: Path) -> None:
    edit(copy / "unet" / "config.json", block_out_channels=[32, -1, 0, None])


def damage_heads(copy: Path) -> None:
    edit(copy / "text_encoder" / "config.json", num_attention_heads=0)


def damage_tokenizer(copy: Path) -> None:
    (copy / "tokenizer" / "vocab.json").write_text("{")


def damage_no_tokenizer(copy: Path) -> None:
    shutil.rmtree(copy / "tokenizer")


@pytest.mark.parametrize(
    "damage",
    [
        damage_pickle,
        damage_bin_only,
        damage_cut,
        damage_missing_tensor,
        damage_shape,
        damage_description,
        damage_heads,
        damage_tokenizer,
        damage_no_tokenizer,
    ],
)
def test_a_damaged_folder_is_refused_in_plain_words(copy: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    identity = identify(read_contents(copy))
    damage(copy)
    with pytest.raises(ModelUnreadable) as error:
        load(copy, tmp_path / "cache", identity)
    assert str(tmp_path) not in error.value.message + error.value.hint


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ("text_encoder", {"hidden_size": [32]}),
        ("text_encoder", {"hidden_size": "wide"}),
        ("vae", {"block_out_channels": []}),
    ],
)
def test_numbers_that_are_none_make_no_model(copy: Path, config: str, wrong: dict[str, Any]) -> None:
    """Nothing else may come of them: all other models would be missing from the list too."""
    edit(copy / config / "config.json", **wrong)
    assert identify(read_contents(copy)) is None


def test_a_whole_model_that_finds_no_memory_is_not_called_damaged(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError("The paging file is too small for this operation to complete. (os error 1455)")

    monkeypatch.setattr(convert, "load_file", full)
    with pytest.raises(OutOfMemory):
        load(folder, tmp_path / "cache")


@pytest.mark.usefixtures("shipped")
def test_a_single_file_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    path = make_sd1_single_file(tmp_path / "model.safetensors")
    rename(lambda key: key.replace("middle_block.0", "middle_block.7"))(path)
    with pytest.raises(ModelUnreadable):
        load(path, tmp_path / "cache", Identity("sd1", "single", False, "epsilon", 512))


def test_a_models_own_code_is_never_run(copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass X: pass\n")
    for part in ("unet", "vae", "text_encoder", "tokenizer"):
        (copy / part / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass X: pass\n")
        config = copy / part / ("tokenizer_config.json" if part == "tokenizer" else "config.json")
        edit(config, auto_map={"AutoModel": "evil.X", "AutoTokenizer": ["evil.X", "evil.X"], "AutoConfig": "evil.X"})
    load(copy, tmp_path / "cache")
    assert not marker.exists()
