"""What is special about a folder: disks that fill up, lock or go away, links, locks, and the page cache."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.backends import FolderConfig, open_backend
from agent.backends.base import Backend, Exclusive, Presence
from agent.backends.folder import rename, upload
from agent.faults import Fault, Kind, Scope
from tests.backends.conformance import content_of, deliver, digests_of, send
from tests.backends.disks import lock, mounted, nobody, small_disk

MIB = 1 << 20


def open_folder(root: Path, **changes: object) -> Backend:
    return open_backend(FolderConfig.model_validate({"path": root, **changes}), owner="test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def backend(root: Path) -> Backend:
    return open_folder(root)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextmanager
def refused(code: str, kind: Kind, scope: Scope) -> Iterator[None]:
    with pytest.raises(Fault) as refusal:
        yield
    assert (refusal.value.code, refusal.value.kind, refusal.value.scope) == (code, kind, scope)


# Disks.


def test_a_disk_that_cannot_hold_the_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk, refused("folder.full", Kind.RETRYABLE, Scope.WHOLE):
        open_folder(disk).start("x.mp4", 5 * MIB, "token1")


def test_a_disk_that_fills_up_is_waited_for(tmp_path: Path) -> None:
    content = content_of(3 * MIB)
    with small_disk(tmp_path / "disk", 5) as disk:
        going = open_folder(disk).start("x.mp4", len(content), "token1")
        send(going, content, 1)
        (disk / "other").write_bytes(bytes(3 * MIB + MIB // 2))
        with refused("folder.full", Kind.RETRYABLE, Scope.WHOLE):
            send(going, content)
        (disk / "other").unlink()
        send(going, content)  # the same chunk again, although a part of it was written
        going.commit(digests_of(content))
        going.close()
        assert files(disk) == {"x.mp4": content}


def test_a_file_size_limit(backend: Backend, root: Path) -> None:
    """As on FAT, where no file is over 4 GiB."""
    content = content_of(2 * MIB)
    going = backend.start("x.mp4", len(content), "token1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB + MIB // 2, hard))
    try:
        with refused("folder.too_large", Kind.PERMANENT, Scope.ITEM):
            send(going, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    going.abort()
    assert files(root) == {}


def test_a_read_only_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        deliver(open_folder(disk), "there.jpg", b"before")
        lock(disk)
        with refused("folder.read_only", Kind.NEEDS_USER, Scope.WHOLE):
            deliver(open_folder(disk), "x.jpg", b"content")
        assert open_folder(disk).find("there.jpg", 6, digests_of(b"before")).presence is Presence.SAME
        check = open_folder(disk).check()
        assert check.fault is not None and check.fault.code == "folder.read_only"


def test_no_permission(backend: Backend, root: Path) -> None:
    root.chmod(0o555)
    for folder in root.parents[:3]:  # pytest's own are private
        folder.chmod(0o755)
    with nobody(), refused("folder.no_permission", Kind.NEEDS_USER, Scope.WHOLE):
        deliver(backend, "a/x.jpg", b"content")
    root.chmod(0o755)
    assert files(root) == {}


def test_the_folder_is_made_but_not_the_one_it_lies_in(tmp_path: Path) -> None:
    deliver(open_folder(tmp_path / "photos"), "x.jpg", b"1")
    assert files(tmp_path) == {"photos/x.jpg": b"1"}
    with refused("folder.missing", Kind.RETRYABLE, Scope.WHOLE):
        deliver(open_folder(tmp_path / "usb" / "photos"), "x.jpg", b"1")
    with refused("folder.missing", Kind.RETRYABLE, Scope.WHOLE):
        deliver(open_folder(tmp_path / "other", create=False), "x.jpg", b"1")
    assert files(tmp_path) == {"photos/x.jpg": b"1"}


def test_a_drive_that_is_not_plugged_in(tmp_path: Path) -> None:
    if tmp_path.stat().st_dev != Path("/").stat().st_dev:
        pytest.skip("the temporary folder is not on the system's disk")
    backend = open_folder(tmp_path / "usb" / "photos", must_be_mount=True)
    (tmp_path / "usb").mkdir()
    for call in (lambda: deliver(backend, "x.jpg", b"1"), lambda: backend.find("x.jpg", 1, None)):
        with refused("folder.not_mounted", Kind.RETRYABLE, Scope.WHOLE):
            call()
    assert not (tmp_path / "usb" / "photos").exists()
    with small_disk(tmp_path / "usb", 4) as disk:
        deliver(backend, "x.jpg", b"1")
        assert files(disk) == {"photos/x.jpg": b"1"}


def test_a_drive_that_is_pulled_and_comes_back(tmp_path: Path) -> None:
    content = content_of(3 * MIB)
    backend = open_folder(tmp_path / "usb" / "photos", create=False)
    (tmp_path / "usb" / "photos").mkdir(parents=True)
    going = backend.start("a/x.mp4", len(content), "token1")
    send(going, content, 2)
    going.close()
    (tmp_path / "usb").rename(tmp_path / "pulled")
    with refused("folder.missing", Kind.RETRYABLE, Scope.WHOLE):
        backend.start("a/x.mp4", len(content), "token1")
    (tmp_path / "pulled").rename(tmp_path / "usb")
    going = backend.start("a/x.mp4", len(content), "token1")
    assert going.offset == 2 * MIB
    send(going, content)
    going.commit(digests_of(content))
    going.close()
    assert files(tmp_path) == {"usb/photos/a/x.mp4": content}


@pytest.mark.parametrize(
    ("number", "code", "kind"),
    [
        (errno.EIO, "folder.io", Kind.RETRYABLE),
        (errno.ESTALE, "folder.unreachable", Kind.RETRYABLE),
        (errno.ENOTCONN, "folder.unreachable", Kind.RETRYABLE),
        (errno.EDQUOT, "folder.full", Kind.RETRYABLE),
        (errno.ENOMEM, "folder.unclassified", Kind.RETRYABLE),
    ],
)
def test_a_disk_that_fails(
    backend: Backend, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, kind: Kind
) -> None:
    """The same upload goes on when the trouble is over."""
    going = backend.start("x.jpg", 7, "token1")
    monkeypatch.setattr(os, "pwrite", refuse_with(number))
    with refused(code, kind, Scope.WHOLE):
        send(going, b"content")
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", refuse_with(number))
    send(going, b"content")
    with refused(code, kind, Scope.WHOLE):
        going.commit(digests_of(b"content"))
    monkeypatch.undo()
    going.commit(digests_of(b"content"))
    assert files(root) == {"x.jpg": b"content"}


# Names.


def test_no_link_is_followed(backend: Backend, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"old")
    (root / "folder").symlink_to(outside)
    (root / "file.jpg").symlink_to(outside / "file")
    (root / ".hotshoe-token2.part").symlink_to(outside / "file")

    with refused("folder.blocked", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, "folder/x.jpg", b"new")
    with refused("folder.exists", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, "file.jpg", b"new")
    with refused("folder.blocked", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, "y.jpg", b"new", "token2")
    assert backend.find("file.jpg", 3, digests_of(b"old")).presence is Presence.DIFFERENT
    assert files(outside) == {"file": b"old"}


def test_a_file_where_a_folder_is_needed(backend: Backend, root: Path) -> None:
    (root / "a").write_bytes(b"1")
    (root / "b").mkdir()
    with refused("folder.blocked", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, "a/x.jpg", b"new")
    with refused("folder.exists", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, "b", b"new")
    assert backend.find("b", 0, digests_of(b"")).presence is Presence.DIFFERENT


def test_a_name_that_is_too_long(backend: Backend) -> None:
    with refused("folder.bad_key", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, "n" * 252 + ".jpg", b"new")
    deliver(backend, "n" * 251 + ".jpg", b"new")


@pytest.mark.parametrize("key", ["a/b:c.jpg", "b:c/x.jpg"])
def test_a_name_that_the_disk_answers_with_no_such_file(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """exfat-fuse 1.3.0 says ENOENT to names with a colon; that must not look like a drive that is gone."""

    def refusing(call: Callable[..., None]) -> Callable[..., None]:
        def refuse(*names: object, **more: object) -> None:
            if any(":" in str(name) for name in names):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            call(*names, **more)

        return refuse

    monkeypatch.setattr(os, "mkdir", refusing(os.mkdir))
    monkeypatch.setattr(rename, "_rename_noreplace", refusing(rename._rename_noreplace))
    with refused("folder.bad_key", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, key, b"1")


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "photos").write_bytes(b"")
    with refused("folder.not_a_folder", Kind.NEEDS_USER, Scope.WHOLE):
        deliver(open_folder(tmp_path / "photos"), "x.jpg", b"1")


# Two at once, and what is left of a crash.


def test_two_attempts_never_write_the_same_partial(backend: Backend, root: Path) -> None:
    content = content_of(2 * MIB)
    going = backend.start("x.mp4", len(content), "token1")
    send(going, content, 1)
    with refused("folder.busy", Kind.RETRYABLE, Scope.ITEM):
        open_folder(root).start("x.mp4", len(content), "token1")
    send(going, content)
    going.commit(digests_of(content))
    going.close()
    assert files(root) == {"x.mp4": content}


def test_a_partial_that_was_published_between_open_and_lock(
    backend: Backend, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late attempt has the published file open: writing there would spoil it."""
    content = content_of(10)
    first = backend.start("x.jpg", len(content), "token1")
    send(first, content)

    def publish_meanwhile(file: int) -> None:
        monkeypatch.undo()
        first.commit(digests_of(content))
        first.close()
        (root / ".hotshoe-token1.part").write_bytes(b"")  # by a third attempt
        upload._lock(file)

    monkeypatch.setattr(upload, "_lock", publish_meanwhile)
    with refused("folder.busy", Kind.RETRYABLE, Scope.ITEM):
        backend.start("x.jpg", len(content), "token1")
    assert files(root) == {"x.jpg": content, ".hotshoe-token1.part": b""}


def test_a_crash_between_link_and_unlink(backend: Backend, root: Path) -> None:
    """The partial is a second name of the published file, and must not be written to."""
    (root / "x.jpg").write_bytes(b"published")
    os.link(root / "x.jpg", root / ".hotshoe-token1.part")
    going = backend.start("x.jpg", 20, "token1")
    assert going.offset == 0
    going.write(memoryview(b"other content of 20b"))
    assert (root / "x.jpg").read_bytes() == b"published"
    going.abort()
    assert files(root) == {"x.jpg": b"published"}


def test_a_partial_that_is_too_long_is_not_ours(backend: Backend, root: Path) -> None:
    (root / ".hotshoe-token1.part").write_bytes(b"longer than the file")
    deliver(backend, "x.jpg", b"content")
    assert files(root) == {"x.jpg": b"content"}


# Publishing where the file system can less.


def refuse_with(number: int) -> Callable[..., None]:
    def way(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return way


@pytest.mark.parametrize(
    ("without", "exclusive"),
    [
        ((), Exclusive.ATOMIC),
        (("_rename_noreplace",), Exclusive.ATOMIC),
        (("_rename_noreplace", "_link_unlink"), Exclusive.CHECKED),
    ],
)
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP])
def test_publishing_with_less(
    root: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...], exclusive: Exclusive, number: int
) -> None:
    for name in without:
        monkeypatch.setattr(rename, name, refuse_with(number))
    backend = open_folder(root)
    assert deliver(backend, "x.jpg", b"content").exclusive is exclusive
    with refused("folder.exists", Kind.PERMANENT, Scope.ITEM):
        deliver(backend, "x.jpg", b"another")
    backend.drop("x.jpg", "token1")
    assert files(root) == {"x.jpg": b"content"}
    assert backend.check().exclusive is exclusive
    found = backend.find("x.jpg", 7, digests_of(b"content"))
    assert found.receipt is not None and found.receipt.exclusive is exclusive


def test_a_link_whose_answer_was_lost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS repeats the request and then hears "exists" of its own link."""
    monkeypatch.setattr(rename, "_rename_noreplace", refuse_with(errno.EINVAL))
    true_link = os.link

    def link_twice(*arguments: object, **more: object) -> None:
        true_link(*arguments, **more)  # type: ignore[arg-type]
        true_link(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", link_twice)
    deliver(open_folder(root), "x.jpg", b"content")
    assert files(root) == {"x.jpg": b"content"}


# The read-back.


def resident_pages(path: Path) -> int:
    """Count the pages of `path` that are in the page cache, as the kernel says (util-linux)."""
    done = subprocess.run(
        ["fincore", "--noheadings", "--output", "PAGES", str(path)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip("fincore (util-linux) is not installed")
    return int(done.stdout)


def test_the_page_cache_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content_of(4 * MIB))
    if resident_pages(path) < 4 * MIB // mmap.PAGESIZE:
        pytest.skip("the disk has no page cache here")
    with path.open("rb") as file:
        assert upload.sha256_of_disk(file.fileno()) == digests_of(content_of(4 * MIB)).sha256
    assert resident_pages(path) == 0


@pytest.mark.parametrize("looks_past_cache", [True, False])
def test_the_read_back_sees_the_disk_and_not_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks_past_cache: bool
) -> None:
    """A bit flips on the disk, below the file system, between the write and the read-back."""
    content = content_of(2 * MIB)
    image = tmp_path / "image"
    with image.open("wb") as disk:
        disk.truncate(32 * MIB)
    if subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True).returncode != 0:
        pytest.skip("mkfs.ext4 is not installed")
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as root:
        flipped = False

        def flip_and_advise(file: int, start: int, length: int, advice: int) -> None:
            nonlocal flipped
            if not flipped:
                flipped = True
                flip(image, content)
            if looks_past_cache:
                advise(file, start, length, advice)

        advise = os.posix_fadvise
        monkeypatch.setattr(os, "posix_fadvise", flip_and_advise)
        backend = open_folder(root)
        if looks_past_cache:
            with refused("folder.damaged", Kind.RETRYABLE, Scope.ITEM):
                deliver(backend, "x.jpg", content)
            assert files(root) == {}
        else:  # the control: without looking past the cache the damage is not seen
            deliver(backend, "x.jpg", content)


def flip(image: Path, content: bytes) -> None:
    with image.open("r+b") as disk, mmap.mmap(disk.fileno(), 0) as view:
        place = view.find(content[4096 : 4096 + 512])
        assert place > 0, "the content is not on the disk yet"
        view[place] ^= 1
        view.flush()


def test_opting_down_skips_the_read_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: int) -> str:
        raise AssertionError("read back")

    monkeypatch.setattr(upload, "sha256_of_disk", never)
    deliver(open_folder(root, minimum_proof="size"), "x.jpg", b"content")
    with pytest.raises(AssertionError, match="read back"):
        deliver(open_folder(root), "y.jpg", b"content")


def test_everything_is_synced_in_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File before rename, its folder after it, and new folders' parents before anything is in them."""
    log: list[str] = []
    true_sync, true_publish = os.fsync, rename.publish

    def sync(descriptor: int) -> None:
        log.append(f"sync {os.path.relpath(os.readlink(f'/proc/self/fd/{descriptor}'), root)}")
        true_sync(descriptor)

    def publish(folder: int, temporary: str, name: str) -> Exclusive:
        log.append("rename")
        return true_publish(folder, temporary, name)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(upload, "publish", publish)
    backend = open_folder(root)
    deliver(backend, "a/b/x.jpg", b"content")
    assert log == ["sync .", "sync a", "sync a/b/.hotshoe-token1.part", "rename", "sync a/b"]
    log.clear()
    deliver(backend, "a/b/y.jpg", b"content")
    assert log == ["sync a/b/.hotshoe-token1.part", "rename", "sync a/b"]
    log.clear()
    (root / "a/b/z.jpg").write_bytes(b"content")  # a crash right after the rename
    backend.find("a/b/z.jpg", 7, digests_of(b"content"))
    assert log == ["sync a/b/z.jpg", "sync a/b"]
