"""`scumble models` from the shell: fetching, and telling what is there."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scumble import cli
from scumble.home import Home
from scumble.models.store import ModelStore

from tests.diffusion.test_kinds import gguf
from tests.models.files import write_lora, write_single_file
from tests.models.stand_in import HubStandIn

from .test_command_line import server


@pytest.fixture
def here(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SCUMBLE_HOME", str(home.root))
    return home


def test_a_name_that_the_output_cannot_hold(here: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scumble models list > list.txt` on Windows."""
    model = write_single_file(tmp_path / "水彩.safetensors")
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="cp1252", write_through=True))
    assert cli.main(["models", "add", str(model)]) == 0
    assert r"  \u6c34\u5f69 (sd1, inpainting" in output.getvalue().decode("cp1252")


def test_a_folder_is_added_and_taken_back(here: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that it brings is told; it need not be there any more when it goes."""
    write_lora(tmp_path / "mine" / "ink.safetensors")
    write_single_file(tmp_path / "mine" / "one.safetensors")
    write_single_file(tmp_path / "mine" / "two.safetensors", channels=4)
    assert cli.main(["models", "add", str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines()] == ["one", "two", "ink"]
    shutil.rmtree(tmp_path / "mine")
    assert cli.main(["models", "remove", str(tmp_path / "mine")]) == 0
    assert cli.main(["models", "remove", "one"]) == 4
    assert "scumble models list" in capsys.readouterr().err
    assert json.loads((here.root / "models.json").read_text())["paths"] == []


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_in = HubStandIn()
    (tmp_path / "published").mkdir()
    stand_in.add("someone/tiny-sd", write_single_file(tmp_path / "published" / "tiny-sd.safetensors").parent)
    monkeypatch.setenv("HF_ENDPOINT", stand_in.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret\n")
    yield stand_in
    stand_in.close()


def test_pull_shows_the_licence_and_lands_in_the_list(
    stand_in: HubStandIn, here: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "pull", "someone/tiny-sd"]) == 0
    said = capsys.readouterr()
    (model,) = ModelStore(here).list()
    offered, landed = said.out.splitlines()
    assert offered.startswith("tiny-sd: ")
    assert offered.endswith(f"Licence: openrail ({stand_in.address}/someone/tiny-sd)")
    assert landed == f"{model.info.id}  tiny-sd is here."
    assert "secret" not in said.out + said.err
    assert stand_in.asked[0][2] == "Bearer hf_secret"


def test_the_bar_tells_speed_and_time_left(
    stand_in: HubStandIn, here: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["models", "pull", "someone/tiny-sd"]) == 0
    assert "tiny-sd: " in (bar := capsys.readouterr().err)
    assert "B/s" in bar


def test_ctrl_c_says_that_nothing_is_lost(
    stand_in: HubStandIn, here: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scumble.models.pull.write_source", interrupt)
    assert cli.main(["models", "pull", "someone/tiny-sd"]) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert ModelStore(here).list() == ()
    monkeypatch.undo()
    monkeypatch.setenv("SCUMBLE_HOME", str(here.root))
    monkeypatch.setenv("HF_ENDPOINT", stand_in.address)
    before = len(stand_in.fetched())
    assert cli.main(["models", "pull", "someone/tiny-sd"]) == 0
    assert len(stand_in.fetched()) == before


@pytest.mark.parametrize(
    ("wanted", "code", "words"),
    [("sd9", 4, "short list"), ("someone/nothing", 4, "HF_TOKEN"), ("not a/name", 2, "owner/name")],
)
def test_what_cannot_be_pulled(
    wanted: str, code: int, words: str, stand_in: HubStandIn, here: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "pull", wanted]) == code
    assert words in capsys.readouterr().err


def test_suggestions_come_with_licence_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "pull"]) == 0
    said = capsys.readouterr().out
    assert "sd15 " in said
    assert "2.1 GB, CreativeML Open RAIL-M (https://" in said


def test_list_all_tells_what_cannot_be_used(here: Home, capsys: pytest.CaptureFixture[str]) -> None:
    here.models.mkdir()
    (here.models / "flux.gguf").write_bytes(gguf(b"flux"))
    (here.models / "old.ckpt").write_bytes(pickle.dumps({}, 2))
    tiny = here.models / "TAESD"
    tiny.mkdir()
    (tiny / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    save_file({"decoder.layers.0.weight": np.zeros((64, 4, 3, 3), "f2")}, tiny / "diffusion_pytorch_model.safetensors")
    with server(here):
        assert cli.main(["models", "list", "--all"]) == 0
        said = capsys.readouterr().out
        assert cli.main(["models", "list", "--all", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
    assert "sd-1  Plain (sd1, 2.1 GB)" in said
    assert "lora-1  Ink (LoRA for sd1, 1 MB)" in said
    assert "control-1  Edges (ControlNet for sd1, 1 MB)" in said
    assert "embedding-1  Oil-Style (textual inversion for sd1, 4 kB)" in said
    assert "not usable yet    flux (GGUF FLUX.1 model, 0 kB)" in said
    assert "for previews      TAESD (autoencoder for Stable Diffusion, " in said
    assert "old.ckpt: This model is a pickle" in said
    assert "convert" in said
    assert [model["id"] for model in told["models"]] == ["fill-1", "sd-1"]
    assert [adapter["kind"] for adapter in told["adapters"]] == ["lora", "control", "embedding", "reference"]
    assert {(other["what"], other["base"]) for other in told["others"]} == {
        ("model", "GGUF FLUX.1"),
        ("autoencoder", "Stable Diffusion"),
    }
    assert told["unreadable"][0]["name"] == "old.ckpt"
