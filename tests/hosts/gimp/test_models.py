"""What the panel shows of the model that is chosen, and of models that come and go, with the real backend."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scumble.client.settings import update_settings
from scumble.home import Home

from tests.diffusion.tiny import make_sd1_folder
from tests.diffusion.tiny_flow import make_flux2_folder
from tests.models.files import write_control, write_embedding, write_flux2_lora, write_lora

from ..driver import Driver
from ..gimp_host import GimpHost
from ..installs import Install
from .conftest import served, shared
from .window import REQUEST_OF, add, click, open_panel, prepare, reach, write

pytestmark = pytest.mark.only("newest")

AUTOMATIC = ["Automatic"] * 4
OF_SD = ["Automatic (20)", "Automatic (7)", "Automatic (64)", "Automatic (DPM++ 2M Karras)"]
OF_KLEIN = ["Automatic (4)", "Automatic (1)", "Automatic (1024)", "Automatic (Euler)"]
OF_BASE = ["Automatic (50)", "Automatic (4)", "Automatic (1024)", "Automatic (Euler)"]
LEFT_OPEN = (
    "[named(name).get_placeholder_text() for name in ('steps', 'guidance', 'resolution')]"
    " + [row[0] for row in named('sampler').get_model()][:1]"
)
TAKEN_BY_SD_ALONE = {
    "clip-skip": "clip skip",
    "embedding": "textual inversions",
    "control-add": "controls",
    "control-layer": "controls",
    "reference-add": "references",
}
"""Widgets of the panel, and what they are for."""
TIPS = """
def tip(name):
    \"\"\"What is said where the pointer is on a widget.\"\"\"
    widget = named(name)
    while not widget.get_has_tooltip():
        widget = widget.get_parent()
    return widget.get_tooltip_text()
"""
SECONDS = 10
"""In which a file shows that was copied into the models folder."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, fill_model: Path) -> Iterator[Home]:
    """A home whose backend runs, with MI-GAN and small random models of Stable Diffusion and of flow matching; a LoRA for
    each of two versions, one that does not say for which and one of few steps, a network to follow and a textual
    inversion."""
    home = Home(tmp_path_factory.mktemp("choice-home"))
    (home.models / "fill").mkdir(parents=True)
    shutil.copyfile(fill_model, home.models / "fill" / fill_model.name)
    make_sd1_folder(home.models / "tiny")
    make_flux2_folder(home.models / "klein")
    for name, width in (("Ink", 768), ("Gloss", 2048), ("Any", 77)):
        write_lora(home.models / "loras" / f"{name}.safetensors", width)
    write_lora(home.models / "loras" / "Hyper-SD15-8steps-lora.safetensors", layers=3)
    write_flux2_lora(home.models / "loras" / "Pastel.safetensors")
    write_control(home.models / "edges" / "diffusion_pytorch_model.safetensors")
    write_embedding(home.embeddings / "Oil.safetensors", emb_params=768)
    with served(home):
        yield home


@pytest.fixture(scope="module")
def choosing(
    gimp_install: Install, tmp_path_factory: pytest.TempPathFactory, plugin_zip: Path, home: Home
) -> Iterator[GimpHost]:
    environment = {"SCUMBLE_HOME": str(home.root)}
    with GimpHost(gimp_install, tmp_path_factory.mktemp("gimp"), [plugin_zip], environment) as gimp:
        yield gimp


@pytest.fixture
def gimp(choosing: GimpHost, home: Home, picture: np.ndarray) -> Iterator[GimpHost]:
    with shared(choosing, home):
        update_settings(home, gimp_panel=None)
        prepare(choosing, picture)
        choosing.run(REQUEST_OF)
        yield choosing


def unfold(panel: Driver) -> None:
    panel.run(TIPS + "for name in ('advanced', 'added'): named(name).set_expanded(True)")


def texts(panel: Driver, name: str) -> list[str]:
    listed: list[str] = panel.get(f"[row[0] for row in named({name!r}).get_model()]")
    return listed


def chosen(panel: Driver, *names: str) -> list[str]:
    shown: list[str] = panel.get(f"[named(name).get_active_text() for name in {names}]")
    return shown


def test_the_model_says_what_there_is_to_choose(gimp: GimpHost) -> None:
    with open_panel(gimp) as panel:
        unfold(panel)
        assert panel.get(LEFT_OPEN) == AUTOMATIC
        assert panel.get("[named(name).get_text() for name in ('steps', 'guidance', 'resolution')]") == [""] * 3
        every = texts(panel, "sampler")
        assert len(every) > 5
        panel.run("pick('model', 'tiny')")
        assert panel.get(LEFT_OPEN) == OF_SD
        assert texts(panel, "sampler")[1:] == every[1:]
        assert panel.get("tip('model')").startswith("Stable Diffusion 1, ")
        for kind in ("lora", "control"):
            add(gimp, panel, kind)
        assert texts(panel, "lora") == ["LoRA\u2026", "Any", "Hyper-SD15-8steps-lora (sd1)", "Ink (sd1)"]
        assert texts(panel, "embedding") == ["Textual inversion\u2026", "Oil (sd1)"]
        panel.run("pick('sampler', 'Euler a'); pick('control', 'edges (sd1)')")
        panel.run("pick('lora', 'Hyper-SD15-8steps-lora (sd1)')")
        assert panel.get(LEFT_OPEN) == ["Automatic (8)", "Automatic (1)", "Automatic (64)", "Automatic (Euler)"]
        panel.run("named('lora-weight').set_value(0.4)")  # in use for something else
        assert panel.get(LEFT_OPEN) == OF_SD
        panel.run("named('lora-weight').set_value(1); pick('lora', 'Ink (sd1)')")
        assert panel.get(LEFT_OPEN) == OF_SD
        write(panel, "a gate", **{"clip-skip": 2, "resolution": 128, "steps": 3})
        panel.run("named('steps').set_value(0); named('negative').set_text('fog')")
        lines = [name for name in TAKEN_BY_SD_ALONE if "-add" not in name]
        tips = panel.get(f"[tip(name) for name in {lines}]")

        panel.run("pick('model', 'klein')")
        assert panel.get(LEFT_OPEN) == OF_KLEIN
        assert texts(panel, "sampler") == ["Automatic (Euler)", "Euler"]
        assert panel.get("tip('model')").startswith("FLUX.2 klein, ")
        assert chosen(panel, "sampler", "lora", "control") == ["Automatic (Euler)", "Ink (sd1)", "edges (sd1)"]
        for name, what in TAKEN_BY_SD_ALONE.items():
            state = panel.get(f"[named({name!r}).is_sensitive(), tip({name!r})]")
            assert state == [False, f"This model takes no {what}."], name
        assert panel.get("[named(name).is_sensitive() for name in ('negative', 'region-add', 'steps')]") == [True] * 3
        removes = "[[named(name).is_sensitive(), tip(name)] for name in ('lora-remove', 'control-remove')]"
        assert panel.get(removes) == [[True, "Take it away"]] * 2
        assert texts(panel, "lora") == ["LoRA\u2026", "Ink (sd1)", "Any", "Pastel (flux2)"]
        panel.run("pick('lora', 'Pastel (flux2)')")
        gimp.screenshot("panel-flow-model")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 2", 120)
        sent = gimp.get("request_of(image.get_layers()[0])")
        assert [sent[name] for name in ("sampler", "steps", "guidance")] == ["euler", 4, 1.0]
        assert [sent[name] for name in ("negative", "clip_skip", "controls")] == ["fog", 1, []]
        assert [use["weight"] for use in sent["loras"]] == [1.0]

    # Nothing is forgotten, also not from one opening to the next.
    with open_panel(gimp) as panel:
        unfold(panel)
        kept = ["klein", "Automatic (Euler)", "Pastel (flux2)", "edges (sd1)"]
        assert chosen(panel, "model", "sampler", "lora", "control") == kept
        reach(gimp, panel, "named('control-remove')")  # though its line is grey
        panel.wait_until("not any(widget.get_name() == 'control' for widget in widgets())", 10)
        panel.run("pick('model', 'tiny')")
        assert chosen(panel, "sampler", "lora") == ["Euler a", "Pastel (flux2)"]
        assert panel.get("named('clip-skip').get_value()") == 2
        add(gimp, panel, "control")
        assert panel.get(f"[tip(name) for name in {lines}]") == tips
        assert all(panel.get(f"[named(name).is_sensitive() for name in {list(TAKEN_BY_SD_ALONE)}]"))
        reach(gimp, panel, "named('lora-remove')")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 3", 120)
        assert gimp.get("request_of(image.get_layers()[0])['sampler']") == "euler_a"

        # The fill model takes no words against anything, and makes one picture. Of no model, all can be chosen.
        variants = "[named('count').is_sensitive(), tip('count'), named('count').get_value()]"
        panel.run("named('count').set_value(3)")
        assert panel.get(variants) == [True, "How many pictures to choose from", 3]
        panel.run("pick('model', 'MI-GAN')")
        negative = [False, "This model takes no negative prompt."]
        assert panel.get("[named('negative').is_sensitive(), tip('negative')]") == negative
        assert panel.get(variants) == [False, "This model makes one picture: nothing is left to chance in it.", 3]
        assert texts(panel, "sampler") == ["Automatic"]
        write(panel, "")
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 4", 120)
        assert gimp.get("request_of(image.get_layers()[0])['count']") == 1
        panel.run("pick('model', 'Automatic')")
        assert panel.get(variants) == [True, "How many pictures to choose from", 3]
        panel.run("named('count').set_value(1)")
        assert texts(panel, "sampler") == every
        assert chosen(panel, "sampler") == ["Euler a"]
        assert texts(panel, "control") == ["ControlNet\u2026", "edges (sd1)"]

        # By keys a line goes too while the model takes nothing of it.
        panel.run("pick('model', 'MI-GAN'); named('control-remove').grab_focus()")
        assert not panel.get("named('control').is_sensitive()")
        gimp.display.keys("space")
        panel.wait_until("not any(widget.get_name() == 'control' for widget in widgets())", 10)

        # An upscale has a model of its own, which takes what the chosen one does not.
        panel.run("pick('upscale-model', 'tiny (paints)'); named('steps').set_value(2); named('upscale').clicked()")
        gimp.wait_until("len(image.get_layers()) == 5", 120)
        sent = gimp.get("request_of(image.get_layers()[0])")
        assert [sent[name] for name in ("mode", "negative", "sampler")] == ["upscale", "fog", "euler_a"]


def test_what_comes_and_goes_shows(gimp: GimpHost, home: Home, tmp_path: Path) -> None:
    """A choice stays what it is: what does not fit, or is gone, is refused in words, not left out in silence."""
    loras = home.models / "loras"
    base = make_flux2_folder(tmp_path / "base", distilled=False)
    wool = write_lora(tmp_path / "Wool.safetensors", 768, layers=2)
    with open_panel(gimp) as panel:
        unfold(panel)
        add(gimp, panel, "lora")
        panel.run("pick('lora', 'Gloss (sdxl)'); pick('model', 'tiny')")
        assert chosen(panel, "lora") == ["Gloss (sdxl)"]
        write(panel, "a gate", resolution=128)
        click(gimp, panel, "named('generate')")
        panel.wait_until("'is made for another kind of model' in named('notice-words').get_text()", 10)

        shutil.copyfile(wool, loras / "Wool.safetensors")
        panel.wait_until("'Wool (sd1)' in [row[0] for row in named('lora').get_model()]", SECONDS)
        assert chosen(panel, "lora", "model") == ["Gloss (sdxl)", "tiny"]
        panel.run("pick('lora', 'Wool (sd1)')")
        (loras / "Any.safetensors").rename(tmp_path / "Any.safetensors")
        panel.wait_until("'Any' not in [row[0] for row in named('lora').get_model()]", SECONDS)
        assert chosen(panel, "lora", "model") == ["Wool (sd1)", "tiny"]

        (loras / "Wool.safetensors").unlink()
        panel.wait_until("named('lora').get_active_text() == 'Wool (sd1) (not found)'", SECONDS)
        click(gimp, panel, "named('generate')")
        panel.wait_until("'The chosen LoRA is not here any more.' in named('notice-words').get_text()", 10)
        shutil.copyfile(wool, loras / "Felt.safetensors")
        panel.wait_until("named('lora').get_active_text() == 'Felt (sd1)'", SECONDS)
        reach(gimp, panel, "named('lora-remove')")

        # A model that has just come is there to be painted with.
        shutil.copytree(base, home.models / "base")
        panel.wait_until("'base' in [row[0] for row in named('model').get_model()]", SECONDS)
        assert chosen(panel, "model") == ["tiny"]
        panel.run("pick('model', 'base')")
        assert panel.get(LEFT_OPEN) == OF_BASE
        write(panel, "a gate", steps=1)
        click(gimp, panel, "named('generate')")
        gimp.wait_until("len(image.get_layers()) == 2", 120)
        shutil.rmtree(home.models / "base")
        panel.wait_until("named('model').get_active_text() == 'base (not found)'", SECONDS)

        # The first one that comes ends the complaint that there is none.
        home.models.rename(tmp_path / "models")
        panel.wait_until("'no model is installed' in named('notice-words').get_text()", SECONDS)
        (tmp_path / "models").rename(home.models)
        panel.wait_until("not named('notice').get_visible()", SECONDS)
    (tmp_path / "Any.safetensors").rename(loras / "Any.safetensors")
    (loras / "Felt.safetensors").unlink()


def test_many_files_are_searched(gimp: GimpHost, home: Home) -> None:
    """What is chosen stays so, and is said, when others come and go."""
    many = [write_lora(home.models / "loras" / f"Felt {n}.safetensors", 768, {"n": str(n)}) for n in range(14)]
    text = "named('lora-search').get_text()"
    with open_panel(gimp) as panel:
        unfold(panel)
        panel.run("pick('model', 'tiny')")
        add(gimp, panel, "lora")
        panel.wait_until("named('lora-search').get_mapped()", SECONDS)
        gimp.display.activate(gimp.window("^Scumble$"))
        reach(gimp, panel, "named('lora-search')")
        gimp.display.type("11 felt")
        gimp.display.keys("Return")
        panel.wait_until(f"{text} == 'Felt 11 (sd1)'", 10)
        many.pop(11).unlink()
        panel.wait_until(f"{text} == 'Felt 11 (sd1) (not found)'", SECONDS)
        for each in many:
            each.unlink()
        panel.wait_until("named('lora').get_mapped()", SECONDS)
        assert chosen(panel, "lora") == ["Felt 11 (sd1) (not found)"]
        reach(gimp, panel, "named('lora-remove')")
