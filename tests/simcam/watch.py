"""A directory that plays the card: what is dropped into it was just shot, what disappears was deleted in the camera.

Polled: a folder is read again when its modification time changed, and a new file counts once its size has stayed the
same between two looks (or at once when it came by a rename, which cannot be told apart and costs a look as well).
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.simcam import fill
from tests.simcam.camera import Camera
from tests.simcam.card import Card, Item
from tests.simcam.stats import Shot

LOOK_SECONDS = 0.05


class Watch:
    """Keeps one card like its directory, from `start` to `stop`."""

    def __init__(self, camera: Camera, card: Card) -> None:
        assert card.folder_path is not None
        self._camera = camera
        self._card = card
        self._dcim = card.folder_path / "DCIM"
        self._stamps: dict[Path, int] = {}
        self._growing: dict[Path, tuple[int, int]] = {}
        self._seen_at: dict[Path, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simcam-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except FileNotFoundError:
                continue  # somebody is just moving things about; the next look sees where to

    def _look(self) -> None:
        folders = sorted(path for path in self._dcim.iterdir() if path.is_dir())
        waiting = {path.parent for path in self._growing}
        for folder in folders:
            stamp = folder.stat().st_mtime_ns
            if self._stamps.get(folder) != stamp or folder in waiting:
                with self._camera.lock:
                    self._compare(folder)
                self._stamps[folder] = stamp

    def _compare(self, folder: Path) -> None:
        into = self._folder(folder)
        known = {item.name: item for item in self._card.children(into.handle)}
        there = {path.name: path for path in folder.iterdir() if fill.is_picture(path)}
        for name in known.keys() - there.keys():
            self._camera.forget(self._card, known[name])
        for name in sorted(there.keys() - known.keys()):
            self._arriving(into, there[name])

    def _folder(self, folder: Path) -> Item:
        for item in self._card.children(self._card.dcim.handle):
            if item.name == folder.name:
                return item
        return self._card.add_folder(folder.name, self._camera.now())

    def _arriving(self, into: Item, path: Path) -> None:
        status = path.stat()
        state = (status.st_size, status.st_mtime_ns)
        began = self._seen_at.setdefault(path, time.monotonic())
        if self._growing.get(path) != state:
            self._growing[path] = state
            return
        del self._growing[path], self._seen_at[path]
        item = fill.add_file(self._card, into, path)
        shot = Shot([], [], item.listed_size, began, time.time() - (time.monotonic() - began))
        self._camera.stats.shots.append(shot)
        self._camera.announce(self._card, [item], shot)
