"""The contract between the uploader and every kind of destination.

All calls block and may run in any worker thread, one at a time per `Upload`; several uploads of one backend
run side by side. Every call is bounded by the backend's own timeouts. Failures are `Fault`s.

Nothing is visible under a key before `commit` returns, nothing is ever replaced, and `offset` is asked of the
destination, never remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Protocol

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agent import schedule
from agent.faults import Fault

RESERVED = ".hotshoe-"
"""How the names of partials and probes begin; no key may have a segment that does."""


class Proof(StrEnum):
    """What stands behind the word "delivered", strongest first."""

    CHECKSUM = "checksum"  # computed by the store over what it keeps, and equal to ours
    READBACK = "readback"  # read back from the store, past caches, and hashed by us
    SIZE = "size"  # only the size was compared: never counts as verified


class Exclusive(StrEnum):
    ATOMIC = "atomic"  # the store itself refuses to replace an existing key
    CHECKED = "checked"  # we looked right before; a concurrent writer could slip between


class Digests(msgspec.Struct, frozen=True):
    """Digests of the whole file as it left the camera, lower-case hex."""

    sha256: str
    crc32c: str | None = None  # big-endian hex, 8 digits


class Receipt(msgspec.Struct, frozen=True):
    """What a destination proved about one key."""

    size: int
    proof: Proof
    exclusive: Exclusive
    checksum: str | None = None  # "sha256:…" or "crc32c:…", as compared
    location: str = ""  # the URL or path a person would look at
    version: str | None = None  # the store's own version or ETag, where it has one
    has_leftovers: bool = False  # of an earlier attempt, which `drop` is to remove later


class Presence(StrEnum):
    ABSENT = "absent"
    SAME = "same"
    DIFFERENT = "different"
    UNDECIDED = "undecided"  # same size, and no digests were given to compare with


class Found(msgspec.Struct, frozen=True):
    presence: Presence
    receipt: Receipt | None = None  # with SAME alone


class Step(msgspec.Struct, frozen=True):
    """One step of `check`: ``ok`` or the fault that stopped it."""

    name: str  # "write", "read back", "list", "refuse overwrite", "delete"
    seconds: float
    ok: bool
    detail: str = ""


class Check(msgspec.Struct, frozen=True):
    """What a probe found out. `exclusive` and `proof` are what a commit here can claim."""

    steps: tuple[Step, ...]
    exclusive: Exclusive
    proof: Proof | None = None  # None: nothing could be written
    free_bytes: int | None = None
    fault: Fault | None = None  # what stopped the first step that failed


class Entry(msgspec.Struct, frozen=True):
    name: str
    is_folder: bool
    size: int | None = None


Limit = Annotated[
    tuple[Annotated[str, AfterValidator(schedule.checked)], ...], BeforeValidator(schedule.several)
]
"""The lines of a limit with its timetable (agent/schedule.py), as they were written."""


class DestinationConfig(BaseModel):
    """What every destination can be told. A backend's own Config adds to it and names the `kind`.

    Secrets are `SecretStr`; the module of a Config imports no SDK.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    wanted_digests: ClassVar[frozenset[str]] = frozenset({"sha256"})
    """Fields of `Digests` that `commit` can make use of."""

    template: str = Field(
        "{date:%Y-%m-%d}/{name}",
        title="Path template",
        description="Where a file goes below the destination's root, for example {camera}/{date:%Y-%m-%d}/{folder}/{name}.",
        min_length=1,
        max_length=500,
    )
    workers: int | None = Field(
        None,
        title="Uploads at once",
        description="How many files may be on their way here at the same time; empty: as set for all destinations.",
        ge=1,
        le=16,
    )
    limit: Limit = Field(
        (),
        title="Speed limit",
        description=(
            'Lines such as "512k 08:00-22:00", "pause mon-fri 08:00-18:00 video" or "off"; the first that applies counts. '
            "A rate is in bytes a second (512k, 4M, 8Mbit), off is no limit, pause holds files back until later."
        ),
        max_length=schedule.MOST_LINES,
    )
    minimum_proof: Proof = Field(
        Proof.READBACK,
        title="Proof wanted",
        description="The weakest proof of delivery to accept. With size alone nothing counts as verified.",
    )


def split_key(key: str) -> tuple[str, ...]:
    """Return the segments of `key`. ValueError for one that could leave the root or meet our temporary names."""
    key.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    segments = tuple(key.split("/"))
    for segment in segments:
        # A backslash is a separator to SMB, and SeaweedFS stores it as a slash.
        if segment in ("", ".", "..") or {"\0", "\\"} & set(segment) or segment.startswith(RESERVED):
            raise ValueError(f"not a key: {key!r}")
    return segments


class Upload(Protocol):
    """One file on its way to one key."""

    token: str
    """Opaque: what `Backend.start` needs to find this upload again. May differ from the token that was passed
    in; the engine saves a changed one before the first `write`."""

    offset: int
    """Bytes that the destination already holds, asked of it by `start`; grows with `write`."""

    chunk_bytes: int
    """How many bytes the engine must give to each `write`; only the last may be shorter."""

    def write(self, chunk: memoryview) -> None:
        """Append `chunk` at `offset`. May be called again with the same chunk after a Fault."""

    def commit(self, digests: Digests) -> Receipt:
        """Publish: all or nothing, never over other content.

        Raises Fault ``<backend>.exists`` (Permanent, item) if something stands under the key by now: the engine then
        asks `find`. Raises Fault ``<backend>.damaged`` (Retryable, item) if the store's copy differs from
        `digests`; the upload has then been aborted and must start again at 0.
        """

    def abort(self) -> None:
        """Drop what was uploaded; nothing is left behind. Harmless when repeated."""

    def close(self) -> None:
        """Release handles and keep the partial for a later `start`."""


class Backend(Protocol):
    """A destination: knows keys (``a/b/c.jpg``, relative, sanitised), nothing of cameras or the ledger."""

    exclusive: Exclusive | None
    """What commits here can claim; None until `check` has found out or the engine remembers it from last time.
    With CHECKED, `commit` looks right before it publishes."""

    def start(self, key: str, size: int, token: str) -> Upload:
        """Begin or go on.

        `token` is unique for the delivery and at first made by the engine (letters and digits): name partials
        by it, so that a retry can only meet its own leftovers.
        """

    def find(self, key: str, size: int, digests: Digests | None) -> Found:
        """Say what stands under `key`. Other size: DIFFERENT. Same size: compared by content."""

    def drop(self, key: str, token: str) -> None:
        """Drop what an unfinished upload of this token left, if anything. Never touches what is published.

        Raises Fault ``<backend>.busy`` (Retryable, item) while the destination does not let go of it.
        """

    def check(self) -> Check:
        """Write, read back, list, try to overwrite, delete a probe. Never raises; says it in the steps."""

    def browse(self, path: str) -> Sequence[Entry]:
        """List a folder: at most 1,000 entries, folders first."""

    def close(self) -> None: ...
