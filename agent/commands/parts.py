"""What orders need of a running agent: no more than this."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from agent.camera import Body
from agent.ledger import Ledger
from agent.settings import CameraSettings, Settings


class Collector(Protocol):
    @property
    def settings(self) -> CameraSettings: ...

    @property
    def body(self) -> Body | None: ...

    def hurry(self) -> None: ...

    def drop(self, file_ids: Iterable[int]) -> None: ...


class Uploader(Protocol):
    @property
    def targets(self) -> Mapping[str, object]: ...

    async def pause(self, name: str, by: str) -> None: ...

    async def resume(self, name: str) -> None: ...

    async def drop(self, file_ids: Collection[int]) -> None: ...


class Agent(Protocol):
    @property
    def settings(self) -> Settings: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def collectors(self) -> Mapping[str, Collector]: ...

    @property
    def uploader(self) -> Uploader: ...

    def look_again(self) -> None: ...

    def want(self, file_id: int) -> None: ...

    def resume_camera(self, name: str) -> None: ...

    async def pause_camera(self, name: str, by: str) -> None: ...

    async def apply(self, new: Settings) -> list[str]: ...
