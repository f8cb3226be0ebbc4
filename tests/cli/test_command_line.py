"""The command line against a real server in its own process, with a fake engine behind it; and without any."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scumble import cli
from scumble.cli import service
from scumble.cli.picture import METADATA
from scumble.client.client import Client
from scumble.client.connection import Unreachable
from scumble.client.launcher import find_backend
from scumble.home import Home
from scumble.protocol.errors import DiskFull, Internal
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import EditRequest

from tests.fakes.engines import colour

REPOSITORY = Path(__file__).resolve().parents[2]
TIMINGS = {"queue", "plan", "load", "denoise", "decode", "composite", "transfer"}


def environment(home: Home) -> dict[str, str]:
    return {**os.environ, "SCUMBLE_HOME": str(home.root)}


def start_server(home: Home) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.backend"], cwd=REPOSITORY, env=environment(home), stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + 30
    while find_backend(home) is None:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


@contextlib.contextmanager
def server(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    process = start_server(home)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("home"))
    with server(home):
        yield home


@pytest.fixture
def here(backend: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a photo and a mask, where the command line finds the backend."""
    monkeypatch.setenv("SCUMBLE_HOME", str(backend.root))
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("photo.png")
    mask = Image.new("L", (400, 300))
    mask.paste(255, (100, 80, 160, 130))
    mask.paste(90, (160, 80, 170, 130))
    mask.save("mask.png")
    return tmp_path


def edit(*words: object) -> int:
    return cli.main([str(word) for word in words])


def pixels(path: str) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)


def test_inpaint_changes_nothing_outside_the_mask(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inpaint", "photo.png", "--mask", "mask.png", "--prompt", "a cat", "--seed", 3, "--layer", "layer.png"]
    assert edit(*command, "-o", "out.png", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    before, after, mask, layer = pixels("photo.png"), pixels("out.png"), pixels("mask.png"), pixels("layer.png")
    assert (before[mask == 0] == after[mask == 0]).all()
    assert (before != after).any()
    assert (layer[..., 3] <= mask).all()
    assert (said["seed"], said["model"], said["mode"]) == (3, "sd-1", "fill")
    assert set(said["timings"]) >= TIMINGS
    assert Bounds(*said["crop"]).contains(Bounds(*said["bounds"]))
    assert Bounds(*said["bounds"]) == Bounds(100, 80, 70, 50)
    with Image.open("out.png") as image:
        assert json.loads(image.text[METADATA])["prompt"] == "a cat"  # type: ignore[attr-defined]
    assert not list((here / "home").glob("pending/*"))
    assert edit(*command, "-o", "again.png") == 0
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()


def test_an_object_may_stand_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["txt2img", "--width", "64", "--height", "48", "--prompt", "a cat", "-o", "out.png", "--json"]
    for words, expected in (([], False), (["--transparent"], True)):
        assert edit(*command, *words) == 0
        assert json.loads(capsys.readouterr().out)["request"]["transparent"] is expected


def test_the_prefill_may_be_chosen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inpaint", "photo.png", "--mask", "mask.png", "--prompt", "a cat", "-o", "out.png", "--json"]
    assert edit(*command, "--prefill", "neutral") == 0
    assert json.loads(capsys.readouterr().out)["request"]["prefill"] == "neutral"
    with pytest.raises(SystemExit):
        edit(*command, "--prefill", "magic")


def test_regions_go_along(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["img2img", "photo.png", "--prompt", "a cat", "--strength", 0.5, "-o", "out.png", "--json"]
    assert edit(*command, "--region", "mask.png", "a star", "--region", "mask.png", "a dog") == 0
    regions = json.loads(capsys.readouterr().out)["request"]["regions"]
    assert regions == [{"prompt": prompt, "mask": [0, 0, 400, 300]} for prompt in ("a star", "a dog")]
    Image.new("L", (4, 3)).save("small.png")
    assert edit(*command, "--region", "small.png", "a star") == 2
    assert "4 x 3" in capsys.readouterr().err


@pytest.mark.parametrize("factor", [2, 4])
def test_upscale_writes_a_larger_picture(here: Path, factor: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit("upscale", "photo.png", "--factor", factor, "--seed", 3, "-o", "large.png", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    painted = pixels("large.png")
    assert painted.shape == (300 * factor, 400 * factor, 3)
    assert (painted == colour(3)).all()
    assert (said["mode"], said["request"]["strength"], said["request"]["factor"]) == ("upscale", 0.35, factor)
    assert said["bounds"] == [0, 0, 400 * factor, 300 * factor]
    with Image.open("large.png") as image:
        assert json.loads(image.text[METADATA])["mode"] == "upscale"  # type: ignore[attr-defined]


def test_several_pictures_with_a_seed_each(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        edit("txt2img", "--prompt", "a cat", "--width", 64, "--height", 48, "--seed", 5, "--count", 3, "-o", "o.png")
        == 0
    )
    for index in range(3):
        painted = pixels(f"o-{index + 1}.png")
        assert painted.shape == (48, 64, 3)
        assert painted[20, 20].tolist() == list(colour(5 + index))
    assert capsys.readouterr().out == "o-1.png (seed 5)\no-2.png (seed 6)\no-3.png (seed 7)\n"


def test_what_would_be_the_same_picture_is_written_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["inpaint", "photo.png", "--mask", "mask.png", "--count", 3, "--seed", 5, "-o", "o.png"]
    assert edit(*command) == 0
    assert capsys.readouterr().out == "o-1.png (seed 5)\n"
    assert edit(*command, "--json") == 0
    assert [layer["output"] for layer in json.loads(capsys.readouterr().out)["layers"]] == ["o-1.png"]
    assert not Path("o-2.png").exists()


def test_outpaint_grows_and_keeps_the_picture(here: Path) -> None:
    assert edit("outpaint", "photo.png", "--left", 30, "--bottom", 20, "--prompt", "a cat", "-o", "out.png") == 0
    after = pixels("out.png")
    assert after.shape == (320, 430, 3)
    assert (after[:300, 30:] == pixels("photo.png")).all()


def test_img2img_paints_the_whole_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["img2img", "photo.png", "--prompt", "a cat", "--strength", 0.5, "--clip-skip", 2, "--resolution", 256]
    assert edit(*command, "-o", "out.png", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["request"]["clip_skip"], said["request"]["resolution"]) == (2, 256)
    assert (said["mode"], said["bounds"]) == ("img2img", [0, 0, 400, 300])


def test_without_a_prompt_the_fill_model_removes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit("inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["mode"], said["model"]) == ("remove", "fill-1")


@pytest.mark.parametrize("name", ["sd-1", "Plain", "plain"])
def test_a_model_may_be_named(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert (
        edit("img2img", "photo.png", "--prompt", "a cat", "--strength", 0.5, "--model", name, "-o", "out.png", "--json")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["model"] == "sd-1"


INPAINT = ["inpaint", "photo.png", "--mask", "mask.png", "--prompt", "a cat", "-o", "out.png"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["inpaint", "nowhere.png", "--mask", "mask.png", "-o", "out.png"], 2, "no file"),
        (["inpaint", "photo.png", "--mask", "small.png", "-o", "out.png"], 2, "The mask is 10 x 10"),
        (["inpaint", "photo.png", "--mask", "black.png", "-o", "out.png"], 2, "Nothing is selected"),
        ([*INPAINT[:-1], "out.jpg"], 2, "PNG"),
        ([*INPAINT[:-1], "no/folder/out.png"], 2, "no folder"),
        ([*INPAINT[:-1], "."], 2, ". is not the name of a .png file"),
        ([*INPAINT[:-1], "folder.png"], 2, "folder.png is not the name"),
        ([*INPAINT, "--layer", "out.png"], 2, "same name"),
        (["inpaint", ".", "--mask", "mask.png", "-o", "out.png"], 2, ". is a folder"),
        ([*INPAINT, "--strength", "nan"], 2, "strength"),
        ([*INPAINT, "--steps", "0"], 2, "steps"),
        ([*INPAINT, "--count", "0"], 2, "count"),
        ([*INPAINT, "--count", "9999999999"], 2, "count"),
        ([*INPAINT, "--sampler", "magic"], 2, "sampler"),
        ([*INPAINT, "--seed", "-1"], 2, "seed is not between 0 and 4294967295"),
        ([*INPAINT, "--clip-skip", "0"], 2, "clip skip"),
        ([*INPAINT, "--resolution", "9"], 2, "resolution"),
        ([*INPAINT, "--model", "nonsense"], 4, "There is no model nonsense"),
        ([*INPAINT, "--control", "nowhere.png", "--control-model", "edges"], 2, "There is no file nowhere.png"),
        ([*INPAINT, "--count", "60"], 4, "images"),
        (["outpaint", "photo.png", "-o", "out.png"], 2, "does not grow"),
        (["inpaint", "photo.png", "--mask", "mask.png", "--prompt", "oom", "-o", "out.png"], 4, "memory"),
        (["inpaint", "photo.png", "--mask", "mask.png", "--prompt", "error", "-o", "out.png"], 4, "."),
        (["models", "pull", "no-such-model"], 4, "migan"),
        (["models", "pull", "sd15", "--file", "photo.png"], 2, "--file"),
        (["models", "pull", "--file", "photo.png"], 2, "--file"),
        (["models", "add", "nowhere.safetensors"], 4, "nowhere.safetensors"),
        (["models", "remove", "nonsense"], 4, "model"),
        (["models", "add", "photo.png"], 4, "model"),
    ],
)
def test_errors_are_one_plain_sentence_and_a_code(
    words: list[str], code: int, sentence: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (10, 10), 255).save("small.png")
    Image.new("L", (400, 300)).save("black.png")
    Path("folder.png").mkdir()
    assert edit(*words) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"scumble: [^\n]+\n", said.err)
    assert sentence in said.err
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["paint"],
        ["inpaint", "photo.png", "-o", "out.png"],
        ["outpaint", "photo.png", "--left", "-3", "-o", "out.png"],
        ["txt2img", "--prompt", "a", "--width", "0", "--height", "8", "-o", "out.png"],
        ["img2img", "photo.png", "--prompt", "a", "-o", "out.png"],
        ["serve", "--port", "99999"],
    ],
)
def test_wrong_words_are_bad_use(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_status_and_models(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    assert "runs on 127.0.0.1" in capsys.readouterr().out
    assert cli.main(["models", "list"]) == 0
    assert "sd-1  Plain (sd1" in capsys.readouterr().out
    assert cli.main(["models", "list", "--json"]) == 0
    assert [model["id"] for model in json.loads(capsys.readouterr().out)] == [
        "fill-1",
        "sd-1",
        "lora-1",
        "control-1",
        "embedding-1",
        "reference-1",
    ]


def test_no_backend(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise Unreachable("The backend could not be started.", "Run: scumble doctor")

    monkeypatch.setenv("SCUMBLE_HOME", str(home.root))
    monkeypatch.setattr(service, "start_backend", refuse)
    monkeypatch.setattr(service, "PATIENCE", 0.2)
    assert cli.main(["status"]) == 3
    assert cli.main(["stop"]) == 0
    assert edit("txt2img", "--prompt", "a", "--width", 8, "--height", 8, "-o", tmp_path / "out.png") == 3
    assert capsys.readouterr().err.endswith("scumble: The backend could not be started. Run: scumble doctor\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DiskFull("The disk is full."), 4),
        (Internal("Oh."), 4),
        (OSError(28, "No space left on device", "out.png"), 4),
        (ZeroDivisionError("secret"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_no_error_becomes_a_traceback(
    error: BaseException, code: int, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setenv("SCUMBLE_HOME", str(home.root))
    monkeypatch.setattr(cli, "run_command", fail)
    assert cli.main(["status"]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "secret" not in said
    if isinstance(error, ZeroDivisionError):
        assert "ZeroDivisionError" in (home.logs / "cli.log").read_text()


def test_a_reader_that_has_gone_is_no_error() -> None:
    """`scumble models pull | head -1`"""
    command = [sys.executable, "-m", "scumble", "models", "pull"]
    process = subprocess.Popen(command, cwd=REPOSITORY / "backend", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 4


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from scumble.cli import make_parser; make_parser().format_help();"
        "print([name for name in ('torch', 'fastapi', 'numpy', 'PIL', 'uvicorn', 'tqdm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


# ---- what is killed in mid-job ---------------------------------------------------------------------------------------


def start_edit(home: Home, folder: Path, prompt: str, steps: int) -> subprocess.Popen[str]:
    """A command line of its own, returned when its job is under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scumble", *SLOW, "--prompt", prompt, "--steps", str(steps), "--json"],
        cwd=folder,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells have what they start in the background ignore it, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 20
    while not list(home.root.glob("pending/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.5)
    return process


SLOW = ["txt2img", "--width", "64", "--height", "48", "--seed", "5", "-o", "out.png"]


def test_ctrl_c_cancels_the_job(here: Path, backend: Home) -> None:
    process = start_edit(backend, here, "slow", 100)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not list(backend.root.glob("pending/*"))
    began = time.monotonic()
    assert edit(*SLOW, "--prompt", "a cat") == 0  # the worker is free again
    assert time.monotonic() - began < 5


def test_a_killed_command_given_again_gets_its_first_job(
    here: Path, backend: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start_edit(backend, here, "slow", 10)
    (note,) = backend.root.glob("pending/*")
    job = json.loads(note.read_text())["job"]
    process.kill()
    process.communicate()
    assert edit(*SLOW, "--prompt", "slow", "--steps", 10, "--json") == 0
    assert json.loads(capsys.readouterr().out)["job"] == job
    assert pixels("out.png")[0, 0].tolist() == list(colour(5))
    assert edit(*SLOW, "--prompt", "slow", "--steps", 2, "--json") == 0
    assert json.loads(capsys.readouterr().out)["job"] != job


@pytest.mark.slow
def test_a_server_killed_in_mid_job_finishes_it_when_it_is_back(home: Home) -> None:
    def locate() -> Any:
        address = find_backend(home)
        if address is None:
            raise Unreachable("Not yet.")
        return address

    process = start_server(home)
    client = Client("test", locate)
    client.connect()
    request = EditRequest("txt2img", Size(64, 48), Bounds(0, 0, 1, 1), prompt="slow", steps=6, seed=5)
    job = client.submit(request, bytes(4))
    killed = []

    def kill(_: object) -> None:
        if not killed:
            process.kill()
            process.wait()
            killed.append(start_server(home))

    try:
        finished = client.wait(job, kill, patience=30)
    finally:
        client.close(timeout=5)
        for restarted in killed:
            restarted.terminate()
            restarted.wait(20)
    assert killed
    assert finished.layers[0].data[:3] == bytes(colour(5))


def test_stop_ends_the_backend(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SCUMBLE_HOME", str(home.root))
    with server(home) as process:
        assert cli.main(["stop"]) == 0
        process.wait(10)
        assert capsys.readouterr().out == "The backend has stopped.\n"
        assert find_backend(home) is None


@pytest.mark.slow
def test_the_real_thing(fill_model: Path, here: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """No backend runs and no model is there: fetch one from a file, and edit."""
    monkeypatch.setenv("SCUMBLE_HOME", str(home.root))
    assert cli.main(["models", "pull", "migan", "--file", str(fill_model)]) == 0
    try:
        assert edit("inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png") == 0
    finally:
        assert cli.main(["stop"]) == 0
    before, after, mask = pixels("photo.png"), pixels("out.png"), pixels("mask.png")
    assert (before[mask == 0] == after[mask == 0]).all()
    assert (before[mask == 255] != after[mask == 255]).any()
