"""Previews by a tiny autoencoder, where there is one that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from scumble.diffusion.contents import read_contents
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import identify
from scumble.diffusion.families.sd1 import SD1
from scumble.diffusion.latents import pixels
from scumble.home import Home

from .test_engine import CPU, Log, plan
from .tiny import make_sd1_folder


@pytest.fixture
def engine(tmp_path: Path) -> DiffusionEngine:
    path = make_sd1_folder(tmp_path / "model")
    return DiffusionEngine(SD1.load(path, identify(read_contents(path)), CPU, tmp_path / "cache"), SD1)


def write_tiny(home: Home, name: str, channels: int = 4) -> AutoencoderTiny:
    torch.manual_seed(3)
    narrow, one = (8, 8, 8, 8), (1, 1, 1, 1)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=narrow, decoder_block_out_channels=narrow, num_encoder_blocks=one,
        num_decoder_blocks=one, latent_channels=channels,
    )  # fmt: skip
    tiny.save_pretrained(home.models / name)
    return tiny


def previews(engine: DiffusionEngine, home: Home | None) -> list[np.ndarray]:
    log = Log()
    DiffusionEngine(engine.model, SD1, home).generate(plan(), log)
    return log.previews


def test_that_of_the_family_makes_them(
    engine: DiffusionEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    tiny = write_tiny(home, "TAESD")
    estimates = []
    monkeypatch.setattr(engine.model, "preview", lambda latents: estimates.append(latents.clone()) or latents[:, :3])
    previews(engine, None)
    expected = [pixels(tiny.decode(estimate).sample.detach()) for estimate in estimates]
    for one, other in zip(previews(engine, home), expected, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1  # channels last add up in another order
    assert len(estimates) == len(expected)  # and the linear map was not asked again


@pytest.mark.parametrize("wrong", ["another family's", "other latents", "damaged", "empty"])
def test_one_that_does_not_fit_is_none(engine: DiffusionEngine, tmp_path: Path, wrong: str) -> None:
    home = Home(tmp_path / "home")
    write_tiny(home, "TAESDXL" if wrong == "another family's" else "TAESD", 16 if wrong == "other latents" else 4)
    if wrong == "damaged":
        file = home.models / "TAESD" / "diffusion_pytorch_model.safetensors"
        file.write_bytes(file.read_bytes()[:2000])
    if wrong == "empty":
        for file in (home.models / "TAESD").iterdir():
            file.unlink()
    assert all(map(np.array_equal, previews(engine, home), previews(engine, None)))
