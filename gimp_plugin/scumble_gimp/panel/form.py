"""What the artist fills in: prompt, model, strength and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gi.repository import Gtk
from scumble.client.document import Edges
from scumble.client.editor import EditSettings
from scumble.client.names import describe, sampler_name
from scumble.protocol.geometry import MAX_SIDE
from scumble.protocol.messages import MAX_SEED, AdapterInfo, ModelInfo

from ..asked import Asked, Placing
from ..commands import CLIP_SKIP, GUIDANCE, INTENT, MASK, NEGATIVE, RESOLUTION, SOURCE, STEPS, TRANSPARENT, Argument
from ..models import left_open, samplers_of, suited, why_not, why_one
from ..words import AUTOMATIC, automatic
from .added import AddedFold
from .choice import Choice
from .prompt import Prompt
from .widgets import GAP, allow, combo_box, fill, fold, new_grid, spin_button, unwheeled

VARIANTS = "How many pictures to choose from"


class Form:
    """`box` holds the widgets; what is given to `listen` is called after each change."""

    def __init__(self) -> None:
        self._changed: Callable[[], None] = lambda: None
        self.box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=GAP)
        self.prompt = Prompt(lambda: self._added())
        self.box.pack_start(self.prompt.box, False, False, 0)
        self.models: dict[str, ModelInfo] = {}
        """All that the backend has, by their ids."""
        self._adapters: Sequence[AdapterInfo] = ()
        self._samplers: Sequence[str] = ()
        grid = new_grid()
        self.box.pack_start(grid, False, False, 0)
        self._negative = self._entry(grid, 0, NEGATIVE, "negative")
        self._model = self._add_choice(grid, 1, "_Model:", "model", self._suit)
        self._strength = self._add_strength(grid, 2)
        self._intent = self._choice(grid, 3, INTENT)
        self._transparent = self._check(grid, 4, TRANSPARENT)
        self._count = self._spin(grid, 5, "_Variants:", "count", VARIANTS, 1, 16)
        self._seed, self._keep = self._add_seed(grid, 6)
        self._add_edges()
        self.added = AddedFold(lambda: self._added(), self.prompt.put_in)
        self.box.pack_start(self.added.box, False, False, 0)
        self._add_advanced()
        self.box.show_all()

    def listen(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    # ---- what it says ------------------------------------------------------------------------------------------------

    @property
    def asked(self) -> Asked:
        """The edit of what is filled in, and of which the chosen model takes something."""
        settings = suited(self.settings, self._chosen_model)
        return Asked(settings, self._shown_edges(), self.from_layer, self.placing.as_mask)

    @property
    def from_layer(self) -> bool:
        return bool(self._source.get_active_id() == "layer")

    @property
    def settings(self) -> EditSettings:
        """All that is filled in."""
        return self._said(self.added.values)

    @property
    def all_settings(self) -> EditSettings:
        """As `settings`, with the lines of what is added in which something is missing."""
        return self._said(self.added.rows)

    def _said(self, added: Mapping[str, Any]) -> EditSettings:
        context = self._context.get_value_as_int()
        return EditSettings(
            prompt=self.prompt.text,
            negative=self._negative.get_text(),
            model=self._model.chosen or None,
            strength=self._strength.get_value() / 100,
            count=self._count.get_value_as_int(),
            seed=int(self._seed.get_value()) if self._keep.get_active() else None,
            steps=self._steps.get_value_as_int() or None,
            guidance=self._guidance.get_value() or None,
            sampler=self._sampler.chosen or None,
            resolution=self._resolution.get_value_as_int() or None,
            clip_skip=self._clip_skip.get_value_as_int(),
            grow=self._grow.get_value_as_int(),
            feather=self._feather.get_value_as_int(),
            context=None if context < 0 else context,
            intent=self._intent.get_active_id(),
            transparent=self._transparent.get_active(),
            **added,
        )

    @property
    def placing(self) -> Placing:
        return Placing(self._mask.get_active_id() == "layer-mask", bool(self._at_once.get_active()))

    @placing.setter
    def placing(self, placing: Placing) -> None:
        self._mask.set_active_id("layer-mask" if placing.as_mask else "alpha")
        self._at_once.set_active(placing.at_once)

    def show_settings(self, values: Mapping[str, Any]) -> None:
        """Shows these fields of an edit (as in EditSettings, and `from_layer`); those that are missing stay as they are."""
        heard, self._changed = self._changed, lambda: None  # once is enough, as each time asks GIMP for its layers
        try:
            self._fill_in(values)
        finally:
            self._changed = heard
        self._suit()

    def _fill_in(self, values: Mapping[str, Any]) -> None:
        if "prompt" in values:
            self.prompt.text = str(values["prompt"])
        if "negative" in values:
            self._negative.set_text(str(values["negative"]))
        if "model" in values:
            self._model.chosen = values["model"] or ""
        if "strength" in values:
            self._strength.set_value(float(values["strength"]) * 100)
        if "seed" in values:
            self._keep.set_active(values["seed"] is not None)
            self._seed.set_value(float(values["seed"] or 0))
        for name, spin in (
            ("count", self._count),
            ("steps", self._steps),
            ("guidance", self._guidance),
            ("resolution", self._resolution),
            ("clip_skip", self._clip_skip),
            ("grow", self._grow),
            ("feather", self._feather),
        ):
            if name in values:
                spin.set_value(float(values[name] or 0))
        if "context" in values:
            self._context.set_value(-1 if values["context"] is None else float(values["context"]))
        if "sampler" in values:
            self._sampler.chosen = values["sampler"] or ""
        if "intent" in values:
            self._intent.set_active_id(values["intent"])
        if "transparent" in values:
            self._transparent.set_active(bool(values["transparent"]))
        if "from_layer" in values:
            self._source.set_active_id("layer" if values["from_layer"] else "visible")
        self.added.show(values)

    def show_edges(self, edges: Edges) -> None:
        for spin, value in zip(self._edges, edges, strict=True):
            spin.set_value(value)
        self._extend.set_expanded(any(edges) or self._extend.get_expanded())

    def show_seed(self, seed: int) -> None:
        """Of a picture that has come back, ready to be kept."""
        if not self._keep.get_active():
            self._seed.set_value(seed)

    def unfold_edges(self) -> None:
        self._extend.set_expanded(True)
        self._edges[0].grab_focus()

    def offer(self, models: Sequence[ModelInfo], adapters: Sequence[AdapterInfo], samplers: Sequence[str]) -> None:
        """What the backend has. What was chosen stays chosen."""
        self.models = {model.id: model for model in models}
        self._adapters, self._samplers = adapters, samplers
        painters = {model.id: model.name for model in models if model.kind != "upscaler"}
        self._model.offer({"": AUTOMATIC, **painters}, {})
        self._suit()

    # ---- how it is built ---------------------------------------------------------------------------------------------

    def _shown_edges(self) -> Edges | None:
        """By how much the canvas is to grow; None where it is not."""
        edges = Edges(*(spin.get_value_as_int() for spin in self._edges))
        return edges if any(edges) else None

    @property
    def _chosen_model(self) -> ModelInfo | None:
        return self.models.get(self._model.chosen)

    def _suit(self) -> None:
        """Shows what the chosen model takes, and what it does where nothing is said."""
        model = self._chosen_model
        self._resolution.set_placeholder_text(automatic(model.native if model else 0))
        self._model.explain(describe(model) if model else "")
        allow(self._negative, why_not(model, "negative"), NEGATIVE.help)
        allow(self._count, why_one(model), VARIANTS)
        allow(self._clip_skip, why_not(model, "clip_skip"), CLIP_SKIP.help)
        self.added.offer_adapters(self._adapters, model)
        self._added()

    def _added(self) -> None:
        """A LoRA has come or gone, perhaps: it may bring settings of its own."""
        model = self._chosen_model
        steps, guidance, sampler = left_open(self.settings, model, self._adapters)
        self._steps.set_placeholder_text(automatic(steps))
        self._guidance.set_placeholder_text(automatic(guidance))
        named = {name: sampler_name(name) for name in samplers_of(model, self._samplers)}
        self._sampler.offer({"": automatic(sampler), **named})
        self._changed()

    def _add_strength(self, grid: Any, row: int) -> Any:
        adjustment = Gtk.Adjustment(value=100, lower=1, upper=100, step_increment=1, page_increment=10)
        scale = Gtk.Box(spacing=GAP)
        slider = Gtk.Scale(adjustment=adjustment, draw_value=False, hexpand=True)
        number = Gtk.SpinButton(adjustment=adjustment, digits=0, width_chars=3)
        number.set_name("strength")
        scale.pack_start(unwheeled(slider), True, True, 0)
        scale.pack_start(unwheeled(number), False, False, 0)
        adjustment.connect("value-changed", lambda adjustment: self._changed())
        self._attach(grid, row, "_Strength (%):", scale, "How far to go from what is there; 100 starts anew", number)
        return adjustment

    def _add_seed(self, grid: Any, row: int) -> tuple[Any, Any]:
        box = Gtk.Box(spacing=GAP)
        seed = spin_button("seed", "", 0, MAX_SEED, width=10)
        keep = Gtk.CheckButton(label="_Keep", use_underline=True)
        keep.set_name("keep")
        keep.set_tooltip_text("Use this seed again instead of a new one each time")
        keep.connect("toggled", lambda button: seed.set_sensitive(button.get_active()))
        seed.set_sensitive(False)
        box.pack_start(seed, True, True, 0)
        box.pack_start(keep, False, False, 0)
        self._attach(grid, row, "See_d:", box, "The same seed makes the same picture again", seed)
        return seed, keep

    def _add_edges(self) -> None:
        grid = new_grid(left=12)
        self._edges = []
        for number, side in enumerate(Edges._fields):
            label = Gtk.Label(label=f"{side.capitalize()}:", xalign=0)
            spin = spin_button(side, "Pixels by which the canvas grows on this side", 0, MAX_SIDE, 16)
            spin.connect("value-changed", lambda spin: self._changed())
            label.set_mnemonic_widget(spin)
            grid.attach(label, number % 2 * 2, number // 2, 1, 1)
            grid.attach(spin, number % 2 * 2 + 1, number // 2, 1, 1)
            self._edges.append(spin)
        self._extend = fold("extend", "E_xtend the canvas", grid)
        self.box.pack_start(self._extend, False, False, 0)

    def _add_advanced(self) -> None:
        grid = new_grid(left=12)
        self._steps = self._spin(grid, 0, "S_teps:", "steps", STEPS.help, 0, 200, left_open=True)
        self._guidance = self._spin(grid, 1, "G_uidance:", "guidance", GUIDANCE.help, 0, 30, 0.5, left_open=True)
        self._sampler = self._add_choice(grid, 2, "Sampler:", "sampler", lambda: self._changed())
        tip = f"{RESOLUTION.help}, or 64 to 4096"
        self._resolution = self._spin(
            grid, 3, "Reso_lution (px):", "resolution", tip, 0, RESOLUTION.high, 64, left_open=True
        )
        self._clip_skip = self._spin(grid, 4, "Clip skip:", "clip-skip", CLIP_SKIP.help, CLIP_SKIP.low, CLIP_SKIP.high)
        self._grow = self._spin(grid, 5, "Gro_w (px):", "grow", "Pixels by which the selection is grown", 0, 4096)
        self._feather = self._spin(
            grid, 6, "Feather (px):", "feather", "Pixels over which the layer fades inside its edge", 0, 4096
        )
        tip = "How much of the surroundings the model sees"
        self._context = self._spin(grid, 7, "Context (px):", "context", tip, -1, 4096, left_open=True)
        self._context.set_placeholder_text(AUTOMATIC)
        self._source = self._choice(grid, 8, SOURCE)
        self._mask = self._choice(grid, 9, MASK)
        self._at_once = Gtk.CheckButton(label="Insert a single variant at _once", use_underline=True, active=True)
        self._at_once.set_name("at-once")
        grid.attach(self._at_once, 0, 10, 2, 1)
        self.box.pack_start(fold("advanced", "_Advanced", grid), False, False, 0)

    def _entry(self, grid: Any, row: int, argument: Argument, name: str) -> Any:
        entry = Gtk.Entry(hexpand=True, activates_default=True)
        entry.set_name(name)
        self._attach(grid, row, f"{argument.label}:", entry, argument.help)
        return entry

    def _spin(
        self,
        grid: Any,
        row: int,
        label: str,
        name: str,
        tip: str,
        low: float,
        high: float,
        step: float = 1,
        left_open: bool = False,
    ) -> Any:
        spin = spin_button(name, "", low, high, step, left_open=left_open)
        self._attach(grid, row, label, spin, tip)
        return spin

    def _choice(self, grid: Any, row: int, argument: Argument) -> Any:
        # Without their keys, which other rows of the panel have.
        label = argument.label.replace("_", "")
        combo = self._combo(grid, row, f"{label}:", argument.name, argument.choices or {})
        combo.set_tooltip_text(argument.help)
        combo.set_active_id(str(argument.default))
        return combo

    def _check(self, grid: Any, row: int, argument: Argument) -> Any:
        check = Gtk.CheckButton(label=argument.label.replace("_", ""))
        check.set_name(argument.name)
        check.set_tooltip_text(argument.help)
        check.connect("toggled", lambda check: self._changed())
        grid.attach(check, 1, row, 1, 1)
        return check

    def _combo(self, grid: Any, row: int, label: str, name: str, choices: Mapping[str, str]) -> Any:
        combo = combo_box(name, "", lambda: self._changed())
        fill(combo, choices, "")
        self._attach(grid, row, label, combo, "")
        return combo

    def _add_choice(self, grid: Any, row: int, label: str, name: str, changed: Callable[[], None]) -> Choice:
        choice = Choice(name, "", changed)
        self._attach(grid, row, label, choice.box, "")
        choice.offer({"": AUTOMATIC})
        return choice

    def _attach(self, grid: Any, row: int, label: str, widget: Any, tip: str, focus: Any = None) -> None:
        words = Gtk.Label(label=label, use_underline=True, xalign=0)
        words.set_mnemonic_widget(focus or widget)
        if tip:
            widget.set_tooltip_text(tip)
        grid.attach(words, 0, row, 1, 1)
        grid.attach(widget, 1, row, 1, 1)
