"""The procedures' words and arguments, and what they mean as an edit."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import get_args

import pytest
from scumble.client.editor import ControlLayer, EditSettings, ReferenceLayer, RegionLayer
from scumble.client.modes import INTENTS
from scumble.protocol import geometry, messages
from scumble.protocol.errors import BadRequest, ModelMissing
from scumble.protocol.messages import AdapterInfo, ModelInfo, Welcome
from scumble_gimp import commands
from scumble_gimp.backend import with_ids
from scumble_gimp.commands import (
    COMMANDS,
    EXTEND_CANVAS,
    FILL,
    GENERATE,
    INTENT,
    PREPROCESSORS,
    REFINE,
    REMOVE,
    TRANSPARENT,
    UPSCALE,
    Command,
)
from scumble_gimp.settings import settings_of

from tests.conftest import REPOSITORY


def defaults(command: Command) -> dict[str, object]:
    return {argument.name: argument.default for argument in command.arguments}


def mnemonic(label: str) -> str:
    return label[label.index("_") + 1].lower() if "_" in label else ""


def test_menu_has_what_was_promised() -> None:
    assert [command.title for command in COMMANDS.values()] == [
        "Fill Selection",
        "Extend Canvas",
        "Remove Selection",
        "Refine / Image to Image",
        "Generate Layer",
        "Upscale Image",
        "Open Panel",
        "Repeat Last",
    ]
    assert commands.MAX_SIDE == geometry.MAX_SIDE


@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_are_documented_and_reached_by_keys(name: str) -> None:
    command = COMMANDS[name]
    assert command.blurb
    assert command.help.endswith(".")
    assert all(argument.help for argument in command.arguments)
    names = [argument.name for argument in command.arguments]
    assert len(set(names)) == len(names)
    # Help, Reset, Cancel, Load and Save are GIMP's own buttons.
    keys = [*"hrcls", mnemonic(command.ok), *(mnemonic(argument.label) for argument in command.arguments)]
    used = [key for key in keys if key]
    if command.ok:
        assert sorted(set(used)) == sorted(used)


def test_defaults_leave_everything_to_the_backend() -> None:
    settings = settings_of(FILL, defaults(FILL))
    assert (settings.mode, settings.strength, settings.count) == (None, 1.0, 1)
    open_ones = (
        settings.model,
        settings.seed,
        settings.steps,
        settings.guidance,
        settings.sampler,
        settings.resolution,
    )
    assert open_ones == (None,) * 6
    assert settings.clip_skip == EditSettings().clip_skip


def test_modes() -> None:
    modes = {
        command.name: settings_of(command, defaults(command)).mode
        for command in (EXTEND_CANVAS, REMOVE, GENERATE, UPSCALE)
    }
    assert list(modes.values()) == ["outpaint", "remove", "txt2img", "upscale"]
    upscale = settings_of(UPSCALE, {**defaults(UPSCALE), "factor": 4})
    assert (upscale.factor, upscale.strength) == (4, 0.35)


def test_values_reach_the_edit() -> None:
    values = {
        **defaults(REFINE),
        "strength": 35.0,
        "seed": 0,
        "steps": 7,
        "guidance": 1.5,
        "sampler": "ddim",
        "resolution": 768,
        "clip-skip": 2,
        "count": 3,
    }
    settings = settings_of(REFINE, {**values, "prompt": "a wall", "negative": "cars", "model": "Tiny"})
    assert settings.strength == pytest.approx(0.35)
    assert (settings.seed, settings.steps, settings.guidance, settings.sampler) == (0, 7, 1.5, "ddim")
    assert (settings.prompt, settings.negative, settings.model, settings.count) == ("a wall", "cars", "Tiny", 3)
    assert (settings.resolution, settings.clip_skip) == (768, 2)


def test_a_control_is_named_by_network_and_layer() -> None:
    values = defaults(FILL)
    assert settings_of(FILL, values).controls == ()
    edges = {**values, "control-model": "Edges", "control-preprocessor": "lineart", "control-weight": 0.5}
    assert settings_of(FILL, edges).controls == (ControlLayer("Edges", None, "lineart", 0.5),)
    assert settings_of(FILL, {**edges, "control": 7}).controls == (ControlLayer("Edges", "7", "lineart", 0.5),)
    with pytest.raises(BadRequest, match="No control network"):
        settings_of(FILL, {**values, "control": 7})
    assert set(PREPROCESSORS) == set(get_args(messages.Preprocessor))


def test_a_reference_is_named_by_adapter_and_layer() -> None:
    values = defaults(FILL)
    assert settings_of(FILL, values).references == ()
    look = {**values, "reference-adapter": "Look", "reference-weight": 0.5}
    assert settings_of(FILL, look).references == (ReferenceLayer("Look", None, 0.5),)
    assert settings_of(FILL, {**look, "reference": 7}).references == (ReferenceLayer("Look", "7", 0.5),)
    with pytest.raises(BadRequest, match="No IP-Adapter"):
        settings_of(FILL, {**values, "reference": 7})


def test_a_region_is_named_by_layer_and_words() -> None:
    values = defaults(FILL)
    assert settings_of(FILL, values).regions == ()
    region = {**values, "region": 7, "region-prompt": "a barn"}
    assert settings_of(FILL, region).regions == (RegionLayer("a barn", "7"),)
    for missing in ({"region": None}, {"region-prompt": ""}):
        with pytest.raises(BadRequest, match="region"):
            settings_of(FILL, {**region, **missing})


def test_intent_and_transparency() -> None:
    assert INTENT.choices is not None
    assert set(INTENT.choices) == set(INTENTS)
    plain = settings_of(FILL, defaults(FILL))
    assert (plain.intent, plain.transparent) == ("fill", False)
    told = settings_of(FILL, {**defaults(FILL), "intent": "add", "transparent": True})
    assert (told.intent, told.transparent) == ("add", True)
    having = {
        argument.name: [command.name for command in COMMANDS.values() if argument in command.arguments]
        for argument in (INTENT, TRANSPARENT)
    }
    assert having == {"intent": [FILL.name], "transparent": [FILL.name, REFINE.name, GENERATE.name]}


def test_models_may_be_given_by_their_names() -> None:
    model = ModelInfo("m-1", "Tiny", "diffusion", "sd1", False, 512, 1)
    adapters = tuple(AdapterInfo(f"{kind}-1", "Edges", kind, "sd1", 1) for kind in ("lora", "control", "reference"))
    welcome = Welcome(1, "", "", messages.Limits(), (model,), (), (), adapters)

    def settings(model: str, control: str, reference: str) -> EditSettings:
        added = {"controls": (ControlLayer(control, weight=0.5),), "references": (ReferenceLayer(reference, "7"),)}
        return EditSettings(model=model, **added)

    wanted = settings("tiny", "EDGES", "edges")
    assert with_ids(wanted, welcome) == settings("m-1", "control-1", "reference-1")
    assert with_ids(with_ids(wanted, welcome), welcome).model == "m-1"
    assert with_ids(EditSettings(), welcome) == EditSettings()
    with pytest.raises(ModelMissing, match="There is no model big"):
        with_ids(EditSettings(model="big"), welcome)
    with pytest.raises(ModelMissing, match="There is no control network depth"):
        with_ids(EditSettings(controls=(ControlLayer("depth"),)), welcome)
    with pytest.raises(ModelMissing, match="There is no IP-Adapter look"):
        with_ids(EditSettings(references=(ReferenceLayer("look"),)), welcome)


def test_nothing_but_words_is_loaded_while_gimp_asks() -> None:
    """A plug-in whose network client cannot be imported still shows its menu."""
    folder = REPOSITORY / "gimp_plugin" / "scumble_gimp"
    for file in ("plugin.py", "commands.py"):
        tree = ast.parse((folder / file).read_text())
        modules = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert not [module for module in modules if module.startswith("scumble")]


def test_standard_library_and_gimp_only() -> None:
    allowed = {"gi", "scumble", "scumble_gimp", *sys.stdlib_module_names}
    for path in sorted((REPOSITORY / "gimp_plugin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            assert not [name for name in names if name.split(".")[0] not in allowed], path


def test_entry_has_the_name_and_bit_that_gimp_wants() -> None:
    entry: Path = REPOSITORY / "gimp_plugin" / "scumble-gimp.py"
    assert entry.stat().st_mode & 0o111
    assert entry.read_text().startswith("#!/usr/bin/env python3\n")
