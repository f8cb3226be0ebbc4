"""A stand-in for the hub, with a whole model on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from scumble.models.hub import Hub

from tests.diffusion.tiny import make_sd1_folder

from .pulling import TINY
from .stand_in import HubStandIn


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as they are on the hub: pickles, other precisions, a safety checker and pictures beside the model."""
    folder = make_sd1_folder(tmp_path_factory.mktemp("published") / "tiny")
    for weights in folder.rglob("*.safetensors"):
        shutil.copy(weights, weights.with_suffix(".fp16.safetensors"))
        weights.write_bytes(b"in float32: not wanted")
        weights.with_suffix(".bin").write_bytes(b"a pickle")
        weights.with_name("diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"not wanted")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"not wanted")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "v1-5.ckpt").write_bytes(b"a pickle")
    (folder / "whole.safetensors").write_bytes(b"not wanted")
    return folder


@pytest.fixture
def stand_in(published: Path) -> Iterator[HubStandIn]:
    stand_in = HubStandIn()
    stand_in.add(TINY, published)
    yield stand_in
    stand_in.close()


@pytest.fixture
def hub(stand_in: HubStandIn) -> Hub:
    return Hub(stand_in.address)
