"""`SimCamera`: body, cards, door, troubles and sockets put together, with a beginning and an end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.simcam import fill
from tests.simcam.camera import Camera
from tests.simcam.card import Card, Item
from tests.simcam.control import Control
from tests.simcam.door import Door, Pairing
from tests.simcam.gate import Gate
from tests.simcam.profile import Profile, body_named
from tests.simcam.server import Server
from tests.simcam.stats import Shot, Stats
from tests.simcam.trouble import Trouble
from tests.simcam.upnp import Description
from tests.simcam.watch import Watch

CardSpec = str | Path | None | Callable[[Card], None]
"""A card as said in one word: "COUNT:SIZE…" (see `fill.parse_batches`), "recorded-60d", "same" (what the first card has, as
a body that records to both would write it), a directory (Path), a function that fills a card, or None for an empty
slot."""


class SimCamera:
    """One camera. `card` and `cards` fill its slots in order; without either the first holds an empty card.

    `rtt_ms`: every answer comes that much later. `mbit`: pace of everything the camera sends on the command socket.
    `known`: GUIDs that are paired already, and then the only ones; otherwise `pairing` decides. `write_seconds`: from the
    press of the shutter to the file. `packet_bytes`: payload of one Data packet. Without `coalesce` every packet goes
    out in a segment of its own, for observers that do not reassemble. `control`: port for verbs, see `control`.
    """

    def __init__(
        self,
        body: str | Profile = "eos-r7",
        card: CardSpec = None,
        *,
        cards: Sequence[CardSpec] = (),
        serial: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rtt_ms: float = 0.0,
        mbit: float | None = None,
        pairing: Pairing | str = Pairing.FIRST,
        known: Iterable[bytes] = (),
        write_seconds: float = 0.0,
        packet_bytes: int = 256 << 10,
        coalesce: bool = True,
        control: int | None = None,
        upnp: int | None = None,
        guid: bytes | None = None,
    ) -> None:
        self.profile = body if isinstance(body, Profile) else body_named(body, serial=serial)
        if guid is not None:
            self.profile = replace(self.profile, guid=guid)
        specs = [card] if card is not None else list(cards) or [lambda empty: None]
        if len(specs) > len(self.profile.slots):
            raise ValueError(
                f"{self.profile.name} has {len(self.profile.slots)} card slots, not {len(specs)}"
            )
        made: list[Card | None] = []
        for index, spec in enumerate(specs):
            made.append(self._card(index, spec, made))
        self.camera = Camera(self.profile, made, write_seconds=write_seconds)
        guids = set(known)
        self.door = Door(Pairing.KNOWN if guids else Pairing(pairing), guids)
        self.server = Server(
            self.camera,
            self.door,
            Gate(self.camera.stats.troubles),
            host=host,
            port=port,
            rtt_seconds=rtt_ms / 1000,
            mbit=mbit,
            packet_bytes=packet_bytes,
            coalesce=coalesce,
        )
        self.trouble = Trouble(self.server)
        self._control_port, self._upnp_port = control, upnp
        self.control: Control | None = None
        self.upnp: Description | None = None
        self.watches = [Watch(self.camera, found) for found in made if found and found.folder_path]

    def _card(self, index: int, spec: CardSpec, others: Sequence[Card | None]) -> Card | None:
        if spec is None:
            return None
        storage, _ = self.profile.slots[index]
        card = Card(storage, salt=f"slot{index}:" if index else "", is_eos=self.profile.is_eos)
        if isinstance(spec, Path):
            fill.from_directory(card, spec)
        elif spec == "recorded-60d":
            fill.as_recorded_60d(card)
        elif spec == "same":
            assert others and others[0] is not None, "same as which card?"
            fill.copy(others[0], card)
        elif isinstance(spec, str):
            fill.by_formula(card, fill.parse_batches(spec))
        else:
            spec(card)
        return card

    # --- life

    def start(self) -> None:
        self.server.open()
        for watch in self.watches:
            watch.start()
        if self._control_port is not None:
            self.control = Control(self, self.host, self._control_port)
        if self._upnp_port is not None:
            gate = self.server.gate
            self.upnp = Description(self.host, self._upnp_port, lambda: gate.on_description())

    def stop(self) -> None:
        if self.control is not None:
            self.control.close()
        if self.upnp is not None:
            self.upnp.close()
        for watch in self.watches:
            watch.stop()
        self.camera.later.close()
        self.server.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what a test wants to know and do

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def stats(self) -> Stats:
        return self.camera.stats

    @property
    def cards(self) -> list[Card]:
        return self.camera.cards

    def files(self) -> list[Item]:
        """Every file on every card, in the order of handles."""
        with self.camera.lock:
            return [item for card in self.camera.cards for item in card.files()]

    def contents(self) -> dict[str, str]:
        """SHA-256 by (path within its card), prefixed with the storage id when there are several cards."""
        many = len(self.camera.cards) > 1
        found = {}
        for item in self.files():
            assert item.source is not None
            found[f"{item.storage:08x}/{item.path}" if many else item.path] = item.source.sha256()
        return found

    def shoot(
        self, files: str | Sequence[tuple[str, int]] = "JPG:5M", *, slot: int = 0, count: int = 1
    ) -> list[Shot]:
        """Press the shutter: "JPG:5M", or "JPG:5M+CR3:25M" for two files of one shot."""
        if isinstance(files, str):
            words = [word.partition(":") for word in files.split("+")]
            files = [(extension.upper(), fill.parse_size(size)) for extension, _, size in words]
        return self.camera.shoot(files, slot=slot, count=count)

    def shoot_every(self, seconds: float, files: str = "JPG:5M", *, slot: int = 0) -> None:
        """Keep shooting at a fixed pace, first after one period."""
        self.camera.later.every(seconds, lambda: self.shoot(files, slot=slot))
