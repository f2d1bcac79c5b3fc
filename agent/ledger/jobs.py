"""What a worker is given of a delivery, and what it gives back."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, frozen=True):
    """A delivery that a worker has claimed, with what it needs of its file."""

    id: int
    file_id: int
    destination: str
    wanted_key: str
    key: str
    token: str
    tries: int
    is_partial_stale: bool  # the partial was made from an earlier fetch of the file
    shared_with: int | None
    rank: int
    identity: str
    name: str
    kind: str
    size: int
    generation: int
    sha256: str | None
    crc32c: str | None

    def __repr__(self) -> str:  # a token may be an address that lets anybody write there
        return (
            f"Job(id={self.id}, file_id={self.file_id}, destination={self.destination!r}, key={self.key!r})"
        )


class Holder(msgspec.Struct, frozen=True):
    """The undone delivery that has a key."""

    id: int
    token: str
    identity: str
    is_uploading: bool

    def __repr__(self) -> str:  # as for Job
        return f"Holder(id={self.id}, is_uploading={self.is_uploading})"


class Outcome(msgspec.Struct, frozen=True):
    """What a done delivery keeps of its receipt."""

    proof: str
    exclusive: str
    checksum: str | None
    location: str
    version: str | None = None
    has_leftovers: bool = False  # of an earlier attempt, to be swept
