"""Scumble in Krita: a docker that sends what is selected to the backend, and puts a layer where it was."""

from krita import DockWidgetFactory, DockWidgetFactoryBase, Krita

from .docker import ScumbleDocker
from .extension import ScumbleExtension

_place = getattr(DockWidgetFactoryBase, "DockPosition", DockWidgetFactoryBase).DockRight

Krita.instance().addExtension(ScumbleExtension(Krita.instance()))
Krita.instance().addDockWidgetFactory(DockWidgetFactory("scumble_docker", _place, ScumbleDocker))
