"""The measurement of memory on narrow models, without a GPU: every part runs, and says what it found."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from scumble.diffusion import footprint, residents
from scumble.diffusion.device import Device
from scumble.diffusion.footprint import SUBJECTS, Figures, Line, Subject

RESERVED = 1 << 29
NARROW: dict[str, dict[str, dict[str, Any]]] = {
    "sd1": {
        "unet": {"block_out_channels": [32, 32, 64, 64], "cross_attention_dim": 32},
        "vae": {"block_out_channels": [32, 32, 32, 32]},
        "text_encoder": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2},
    },
    "sdxl": {
        "unet": {
            "block_out_channels": [32, 64, 64],
            "cross_attention_dim": 96,
            "transformer_layers_per_block": [1, 1, 2],
            "attention_head_dim": [2, 4, 4],
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 64,
        },
        "vae": {"block_out_channels": [32, 32, 32, 32]},
        "text_encoder": {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3},
        "text_encoder_2": {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "projection_dim": 64,
        },
    },
}


def narrow(subject: Subject, folder: Path) -> Subject:
    for part, changes in NARROW[subject.family.name].items():
        config = json.loads((subject.files / f"{part}.json").read_text())
        (folder / f"{part}.json").write_text(json.dumps({**config, **changes}))
    (folder / "scheduler.json").write_bytes((subject.files / "scheduler.json").read_bytes())
    # The text encoder and the denoiser, 3 and 5 MB, do not fit together; on the small one, no denoiser does.
    return dataclasses.replace(subject, files=folder, native=64, card=RESERVED + (8 << 20), small=RESERVED + (3 << 20))


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.family.name)
def test_every_part_is_measured(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(residents, "moves", lambda device: True)
    monkeypatch.setattr("scumble.diffusion.engine.autoencoder_area", lambda *numbers: 64**2)  # on these cards too
    monkeypatch.setattr(footprint, "STEPS", 3)
    monkeypatch.setattr(footprint, "PIECES", 2)
    lines: list[Line] = []
    well = footprint.measure([narrow(subject, tmp_path)], Device("cpu", torch.float32, False), lines.append)
    assert well, capfd.readouterr().err
    names = [line.name for line in lines]
    assert [name for name in names if "card" in name or "diffusers" in name] == [
        f"{subject.family.name} {rest}"
        for rest in (
            "txt2img 0.507812 GiB card",
            "fill 0.507812 GiB card",
            "4 pictures and a LoRA, 0.507812 GiB card",
            "txt2img by diffusers",
            "layer by layer, 0.50293 GiB card",
        )
    ]
    assert all("same bytes" in line.detail for line in lines if "card" in line.name and "LoRA" not in line.name)
    assert all(line.figures.seconds > 0 for line in lines if line.figures)


@pytest.mark.slow
def test_a_step_waits_for_what_it_asks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = footprint.Measurement(narrow(SUBJECTS[0], tmp_path), Device("cpu", torch.float32, False), tmp_path)

    modes = ["default"]

    def waits(name: str, times: int) -> None:
        right = getattr(measurement.model, name)

        def call(*arguments: Any) -> Any:
            for _ in range(times if modes[-1] == "warn" else 0):
                warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
            return right(*arguments)

        monkeypatch.setattr(measurement.model, name, call)

    waits("encode_prompt", 7)  # once, and then remembered
    waits("predict", 2)
    waits("decode_latents", 5)
    monkeypatch.setattr(measurement.meter, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    monkeypatch.setattr(footprint, "release", lambda device: None)
    (line,) = measurement.what_a_step_waits_for()
    assert line.name == "sd1 waits in a step: 2"
    assert "test_footprint.py" in line.detail


def test_a_part_that_fails_is_said_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(self: Any) -> Any:
        raise ValueError("no such thing")
        yield

    parts = [name for name in vars(footprint.Measurement) if not name.startswith("_") and name != "lines"]
    for name in parts:
        monkeypatch.setattr(footprint.Measurement, name, lambda self: iter([Line("well")]))
    fails.__name__ = "on_a_card"
    monkeypatch.setattr(footprint.Measurement, "on_a_card", fails)
    lines: list[Line] = []
    cpu = Device("cpu", torch.float32, False)
    assert not footprint.measure([narrow(SUBJECTS[0], tmp_path)], cpu, lines.append)
    assert [line.name for line in lines].count("well") == len(parts) - 1
    assert "sd1 on_a_card" in [line.name for line in lines]
    assert "no such thing" in capfd.readouterr().err


def test_a_goal_is_met_or_missed() -> None:
    below, above = (str(Line("x", Figures(1.0, peak, peak), goal=8e9)) for peak in (7_999_999_999, 8_000_000_000))
    assert "ok" in below
    assert "MISS" in above
    assert json.loads(Line("x", Figures(1.0, 5, 6), 8e9).json())["peak"] == 5
