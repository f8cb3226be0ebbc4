"""From files in a folder to the painted layer: store, request, worker and engine together, with all that is added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from scumble.editing.plan import Pixels, Silent
from scumble.home import Home
from scumble.models.store import Adapter, ModelStore
from scumble.protocol.errors import ModelMissing
from scumble.protocol.frames import encode, pack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import Control, EditRequest, LoraUse, Reference, Submit
from scumble.server.engines import load
from scumble.server.resolve import complete
from scumble.server.run_job import run_job
from scumble.server.work import Work
from scumble.server.worker import unpack

from tests.diffusion.tiny import make_sd1_folder
from tests.models.files import write_embedding

CANVAS = Size(64, 64)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose folder of models holds a tiny one, and a LoRA, a ControlNet and an IP-Adapter for it."""
    from diffusers import UNet2DConditionModel

    from tests.diffusion.tiny_adapters import (
        lora_tensors,
        make_control,
        make_vision,
        reference_tensors,
        write_adapter,
        write_control,
    )

    home = Home(tmp_path_factory.mktemp("home"))
    folder = make_sd1_folder(home.models / "tiny")
    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet")
    write_adapter(home.models / "loras" / "Ink.safetensors", lora_tensors({"unet": unet}, alpha=4.0))
    write_control(home.models / "edges", make_control(unet))
    make_vision(home.models / "image_encoder")
    write_adapter(home.models / "Look.safetensors", reference_tensors(unet))
    return home


def paint(home: Home, adapters: tuple[Adapter, ...] | None = None, **settings: Any) -> Pixels:
    """`adapters`: those that were known when the job began."""
    store = ModelStore(home)
    known = store.adapters() if adapters is None else adapters
    asked = EditRequest("txt2img", CANVAS, Bounds(0, 0, 1, 1), steps=2, seed=3, **{"prompt": "a boat", **settings})
    request, model = complete(asked, store.list(), known)
    image = pack("image", 1, 1, "rgba8", bytes(4))
    hints = [pack("control", 64, 64, "rgba8", bytes([9, 90, 200, 255]) * 64**2) for _ in request.controls]
    looks = [pack("reference", 40, 30, "rgba8", bytes([9, 90, 200, 255]) * 1200) for _ in request.references]
    frame = encode(Submit("0" * 32, request), [image, *hints, *looks])
    assert isinstance(frame, bytes)
    work = Work("0" * 32, frame, str(model.path), "diffusion", model.identity, home, 0.0, 0.0, known)
    _, layers = run_job(*unpack(work.submit, work.adapters), load(work), Silent())
    return layers[0].rgba


@pytest.mark.slow
def test_what_lies_in_the_folder_acts_on_the_picture(home: Home) -> None:
    control, lora, reference, _ = ModelStore(home).adapters()
    assert (lora.info.name, control.info.name, reference.info.name) == ("Ink", "edges", "Look")
    plain = paint(home)
    inked = paint(home, loras=(LoraUse(lora.info.id, 0.7),))
    guided = paint(home, controls=(Control(control.info.id, Bounds.of_size(CANVAS)),))
    np.testing.assert_array_equal(paint(home, prompt="a boat<lora:ink:0.7>"), inked)
    assert np.abs(inked.astype(int) - plain).max() > 8
    assert np.abs(guided.astype(int) - plain).max() > 8
    looked = paint(home, references=(Reference(reference.info.id, Size(40, 30)),))
    assert np.abs(looked.astype(int) - plain).max() > 8
    np.testing.assert_array_equal(paint(home), plain)
    with pytest.raises(ModelMissing, match="no LoRA with the name other"):
        paint(home, prompt="a boat<lora:other>")


def test_a_textual_inversion_in_a_folder_that_the_user_named_is_a_word(home: Home, tmp_path: Path) -> None:
    """Also of two that are called so the one that is made for the model, and none that is gone."""
    plain = paint(home, prompt="a Style boat")
    vectors = np.random.default_rng(2).standard_normal((2, 32), dtype=np.float32) * 50
    save_file({"emb_params": vectors}, tmp_path / "style.safetensors")
    write_embedding(tmp_path / "other" / "style.safetensors", clip_l=768, clip_g=1280)
    store = ModelStore(home)
    store.add(tmp_path)
    styled = paint(home, prompt="a Style boat")
    assert np.abs(styled.astype(int) - plain).max() > 8
    known = store.adapters()
    (tmp_path / "style.safetensors").unlink()
    with pytest.raises(ModelMissing, match="textual inversion style is not here"):
        paint(home, prompt="a Style boat", adapters=known)
    (tmp_path / "other" / "style.safetensors").unlink()
    np.testing.assert_array_equal(paint(home, prompt="a Style boat"), plain)


def test_the_model_and_its_parts_are_seen_apart(home: Home, tmp_path: Path) -> None:
    store = ModelStore(home)
    assert [model.info.name for model in store.list()] == ["tiny"]
    assert [adapter.path.suffix for adapter in store.adapters()] == [".safetensors"] * 4
