"""Secrets at rest: found by name, closed to others, weaker than everything that is said elsewhere, and never told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.backends import BACKENDS
from agent.settings import Settings, SettingsError, load, secrets
from agent.settings.secrets import SecretError, forget, keep, names_kept, places, text_of

NAME = "destinations.cloud.secret_access_key"
CONFIG = 'state_dir = "state"\n[destinations.cloud]\nkind = "s3"\nbucket = "photos"\naccess_key_id = "a"\n'
PLANTED = "hunter2-\N{GREEK SMALL LETTER PI}"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(secrets.CREDENTIALS_VARIABLE, raising=False)
    path = tmp_path / "hotshoe.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "secrets"


def key_of(settings: Settings) -> str:
    secret = settings.destinations["cloud"].secret_access_key  # type: ignore[union-attr]
    assert secret is not None
    return str(secret.get_secret_value())


def problem(config: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config)
    assert PLANTED not in str(caught.value) and PLANTED not in repr(caught.value)
    return str(caught.value)


def test_a_kept_secret_fills_what_the_file_leaves_out(config: Path, folder: Path) -> None:
    keep(folder, NAME, PLANTED)
    assert key_of(load(config)) == PLANTED
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]
    assert PLANTED not in repr(load(config)) + str(load(config)) + load(config).model_dump_json()


def test_file_edits_and_environment_are_stronger(
    config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(folder, NAME, "kept")
    config.write_text(CONFIG + 'secret_access_key = "file"\n')
    assert key_of(load(config)) == "file"
    assert key_of(load(config, {"destinations": {"cloud": {"secret_access_key": "edit"}}})) == "edit"
    monkeypatch.setenv("HOTSHOE_DESTINATIONS__CLOUD__SECRET_ACCESS_KEY", "environment")
    assert key_of(load(config)) == "environment"


def test_systemds_credentials_are_read_and_ours_come_first(
    config: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / NAME).write_text("credential\n")
    (credentials / NAME).chmod(0o440)  # as systemd makes them
    (credentials / "of.another.program").write_text("x")
    monkeypatch.setenv(secrets.CREDENTIALS_VARIABLE, str(credentials))
    assert key_of(load(config)) == "credential"
    keep(folder, NAME, "kept")
    assert key_of(load(config)) == "kept"


@pytest.mark.parametrize("which", ["file", "folder"])
@pytest.mark.parametrize("mode", [0o040, 0o004, 0o020, 0o070])
def test_what_others_may_read_is_refused_with_what_to_do(
    config: Path, folder: Path, which: str, mode: int
) -> None:
    keep(folder, NAME, PLANTED)
    path = folder / NAME if which == "file" else folder
    path.chmod((0o600 if which == "file" else 0o700) | mode)
    told = problem(config)
    assert NAME in told and f"chmod {'600' if which == 'file' else '700'} {path}" in told


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"a\0b", b"x" * (secrets.LONGEST_BYTES + 1)])
def test_what_cannot_be_a_secret_is_refused_in_words(config: Path, folder: Path, content: bytes) -> None:
    keep(folder, NAME, PLANTED)
    (folder / NAME).write_bytes(content)
    assert "must" in problem(config)
    with pytest.raises(SecretError, match="must"):
        text_of(content)


def test_a_link_or_a_folder_in_its_place_is_refused(config: Path, folder: Path, tmp_path: Path) -> None:
    keep(folder, "other", "x")
    (tmp_path / "elsewhere").write_text(PLANTED)
    (folder / NAME).symlink_to(tmp_path / "elsewhere")
    assert NAME in problem(config)
    (folder / NAME).unlink()
    (folder / NAME).mkdir()
    assert NAME in problem(config)


def test_one_newline_at_the_end_does_not_count() -> None:
    assert text_of(b"a b\n") == "a b"
    assert text_of(b"a\r\n") == "a"
    assert text_of(b"-----BEGIN\nx\n-----END\n\n") == "-----BEGIN\nx\n-----END\n"


def test_a_secret_is_replaced_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(folder, NAME, "one")

    def no_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_disk)
        with pytest.raises(SecretError, match="No space left") as caught:
            keep(folder, NAME, PLANTED)
    assert PLANTED not in str(caught.value)
    assert (folder / NAME).read_text() == "one"
    assert [path.name for path in folder.iterdir()] == [NAME], "nothing is left behind"
    keep(folder, NAME, "two")
    assert (folder / NAME).read_text() == "two"


def test_forgetting_says_whether_there_was_one(folder: Path) -> None:
    assert not forget(folder, NAME)
    keep(folder, NAME, "x")
    assert names_kept(folder) == [NAME]
    assert forget(folder, NAME) and names_kept(folder) == []


def test_a_secret_that_is_missing_says_where_it_may_be_put(tmp_path: Path) -> None:
    config = tmp_path / "hotshoe.toml"
    config.write_text('[destinations.nas]\nkind = "smb"\naddress = "smb://nas/photos"\nuser = "me"\n')
    told = problem(config)
    assert "hotshoe secret set destinations.nas.password" in told
    assert "HOTSHOE_DESTINATIONS__NAS__PASSWORD" in told


def test_a_secret_that_only_its_section_misses_says_so_too(config: Path) -> None:
    told = problem(config)
    assert "hotshoe secret set destinations.cloud.secret_access_key" in told


def test_every_backends_secrets_are_found_by_their_type() -> None:
    raw = {"destinations": {kind: {"kind": kind} for kind in BACKENDS}}
    found = {(str(loc[1]), str(loc[2])) for loc in places(raw)}
    assert {
        ("s3", "secret_access_key"),
        ("smb", "password"),
        ("sftp", "password"),
        ("ftp", "password"),
    } <= found
    for kind, (config, _) in BACKENDS.items():
        schema = config.model_json_schema()["properties"]
        marked = {
            name for name, field in schema.items() if "writeOnly" in str(field) or "'password'" in str(field)
        }
        assert marked == {name for where, name in found if where == kind}
    assert places({"destinations": {"x": {"kind": "tape"}, "y": 5}}) == {} == places({"destinations": []})
