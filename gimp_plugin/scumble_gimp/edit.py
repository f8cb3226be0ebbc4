"""One edit from beginning to end in this process, with GIMP's own progress bar.

Its Cancel kills this process at once, so the backend is asked to cancel the job when the connection breaks off.
"""

from __future__ import annotations

from typing import Any

from gi.repository import Gimp
from scumble.client.client import Client
from scumble.client.document import Edges
from scumble.client.editor import Editor, EditSettings
from scumble.client.events import Finished
from scumble.home import Home
from scumble.protocol.errors import ScumbleError
from scumble.protocol.messages import Progress

from .backend import make_client, welcomed, with_ids
from .document import GimpDocument, new_image, put_on_view
from .words import fraction, progress_words

GOODBYE_SECONDS = 5.0


def edit(
    home: Home,
    document: GimpDocument,
    settings: EditSettings,
    edges: Edges | None = None,
    client: Client | None = None,
    on_view: bool = False,
) -> list[Any]:
    """The new layers, topmost first. A client that is given is closed at the end.

    `on_view`: somebody looks on, so that a result whose place is gone may come in a new image. Raises ScumbleError,
    JobCancelled.
    """
    client = client or make_client(home, "cancel")
    Gimp.progress_init("Scumble")
    try:
        settings = with_ids(settings, welcomed(client))
        editor = Editor(client)
        document.settle()
        finished = client.wait(editor.start(document, settings, edges), _show)
        editor.finish(finished)
        try:
            document.settle()
            return _insert(editor, finished, document)
        except ScumbleError as error:
            if not on_view:
                raise
            # The image was closed or cropped meanwhile; what took minutes is not thrown away.
            Gimp.message(f"{error.message} The result is in a new image.")
            elsewhere = new_image(finished.result.request.canvas)
            layers = _insert(editor, finished, elsewhere)
            put_on_view(elsewhere)
            return layers
    finally:
        Gimp.progress_end()
        client.close(GOODBYE_SECONDS)


def _insert(editor: Editor, finished: Finished, document: GimpDocument) -> list[Any]:
    home = editor.document(finished.result.job)
    with document.undo_group("Scumble"):
        for index in reversed(range(len(finished.layers))):
            editor.insert(finished.result.job, index, document, anyway=document is not home)
            if index:
                document.inserted[-1].set_visible(False)
    return list(reversed(document.inserted))


def _show(progress: Progress) -> None:
    Gimp.progress_set_text(progress_words(progress))
    Gimp.progress_update(fraction(progress))
