"""An SSH server in this process that can be told to behave in ways to which Debian's cannot be brought."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

T = TypeVar("T")
USER = "cam"
PASSWORD = "geheim und länger"


class Guard(asyncssh.SSHServer):
    """Lets `USER` in with `PASSWORD`, asked for in the ways that are named: password, question."""

    ways: frozenset[str] = frozenset({"password"})
    prompts: tuple[tuple[str, bool], ...] = (("Kennwort: ", False),)
    disconnects_with: int | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if self.disconnects_with is not None:
            self._connection.disconnect(self.disconnects_with, "go away")
        return True

    def password_auth_supported(self) -> bool:
        return "password" in self.ways

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def kbdint_auth_supported(self) -> bool:
        return "question" in self.ways

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "", "", "", list(self.prompts)

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        return list(responses) == [PASSWORD] * len(self.prompts)

    def session_requested(self) -> bool:
        return True


class Files(asyncssh.SFTPServer):
    """Folders below `root`, which is all that a guest sees."""

    root: Path

    def __init__(self, channel: Any):
        super().__init__(channel, chroot=str(self.root).encode())


class InProcess:
    """Listens from the start until `stop`."""

    def __init__(self, guard: type[Guard] = Guard, files: type[asyncssh.SFTPServer] | None = None):
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.fingerprint = key.get_fingerprint()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def listen() -> asyncssh.SSHAcceptor:
            return await asyncssh.listen(
                "127.0.0.1",
                0,
                server_host_keys=[key],
                server_factory=guard,
                sftp_factory=files,
            )

        self._listener = self._run(listen())
        self.port = self._listener.get_port()

    def stop(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._listener.close()
        await self._listener.wait_closed()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


def failing(error: Callable[[], Exception], *names: str) -> type[Files]:
    """Return a kind of `Files` whose calls of these names fail."""

    def fail(self: Files, *args: object) -> Any:
        raise error()

    return type("Failing", (Files,), dict.fromkeys(names, fail))
