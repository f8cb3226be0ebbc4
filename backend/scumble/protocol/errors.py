"""What can go wrong, named for what the artist can do about it.

ScumbleError
 |- BadRequest           the message or the request cannot be understood or carried out as it is
 |- UnsupportedVersion   plug-in and backend speak different protocol versions
 |- NotAuthorised        wrong token, or somebody else's job
 |- TooLarge             above one of the server's limits
 |- ModelMissing         the model is not (or no longer) in the store
 |- ModelUnreadable      the file is damaged, of an unknown kind, or a pickle
 |- OutOfMemory          the device cannot hold this edit
 |- DiskFull             the job could not be written down
 |- WorkerCrashed        the process that computes died, also on a second try
 |- Internal             a defect of ours; details are in the log only

A cancel is no error. Each error holds one plain sentence and one thing to do.
"""

from __future__ import annotations

from typing import Dict, Type


class ScumbleError(Exception):
    """Base of all errors that cross the wire.

    `message` is one sentence for the artist, without paths, prompts or secrets; `hint` says the one thing to do.
    """

    code = "internal"
    default_hint = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint

    def __reduce__(self) -> tuple[Type[ScumbleError], tuple[str, str]]:
        # Exceptions cross the pipe between worker and server: keep the hint.
        return type(self), (self.message, self.hint)


class BadRequest(ScumbleError):
    code = "bad_request"
    default_hint = "Check the settings of this edit."


class UnsupportedVersion(ScumbleError):
    code = "unsupported_version"
    default_hint = "Update Scumble so that the plug-in and the backend have the same version."


class NotAuthorised(ScumbleError):
    code = "not_authorised"
    default_hint = "Enter the token that the backend shows, or restart both programs."


class TooLarge(ScumbleError):
    code = "too_large"
    default_hint = "Select a smaller area."


class ModelMissing(ScumbleError):
    code = "model_missing"
    default_hint = "Choose another model, or add this one with: scumble models add"


class ModelUnreadable(ScumbleError):
    code = "model_unreadable"
    default_hint = "Download the model again, as a .safetensors file."


class OutOfMemory(ScumbleError):
    code = "out_of_memory"
    default_hint = "Select a smaller area, or choose a smaller model."


class DiskFull(ScumbleError):
    code = "disk_full"
    default_hint = "Free some disk space and try again."


class WorkerCrashed(ScumbleError):
    code = "worker_crashed"
    default_hint = "Try again; if it happens again, a smaller area or another model may help."


class Internal(ScumbleError):
    code = "internal"
    default_hint = "Try again; the backend's log says more."


ERRORS: Dict[str, Type[ScumbleError]] = {
    kind.code: kind
    for kind in (
        BadRequest,
        UnsupportedVersion,
        NotAuthorised,
        TooLarge,
        ModelMissing,
        ModelUnreadable,
        OutOfMemory,
        DiskFull,
        WorkerCrashed,
        Internal,
    )
}


def error_from_code(code: str, message: str, hint: str = "") -> ScumbleError:
    """The exception for a `failed` message; an unknown code (a newer server) becomes Internal."""
    return ERRORS.get(code, Internal)(message, hint)
