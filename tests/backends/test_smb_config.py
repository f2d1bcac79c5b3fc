"""The settings of an SMB destination: what people write, and what nobody can store."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent.backends.smb import SmbConfig
from agent.backends.smb.address import parse
from agent.backends.smb.names import objection

SECRET = "hunter2-wedding"


def config(**changes: object) -> SmbConfig:
    settings: dict[str, object] = {"address": r"\\nas\photos", "user": "anna", "password": SECRET}
    return SmbConfig.model_validate({**settings, **changes})


@pytest.mark.parametrize(
    ("text", "host", "port", "share", "folders"),
    [
        (r"\\nas\photos", "nas", 445, "photos", ()),
        (r"\\nas\photos\2026\wedding", "nas", 445, "photos", ("2026", "wedding")),
        ("\\\\nas\\photos\\", "nas", 445, "photos", ()),
        (r"\\10.0.0.5:4450\photos$", "10.0.0.5", 4450, "photos$", ()),
        ("//nas/photos/raw", "nas", 445, "photos", ("raw",)),
        ("smb://nas/photos", "nas", 445, "photos", ()),
        ("SMB://nas.local:1445/photos/raw/", "nas.local", 1445, "photos", ("raw",)),
        ("smb://nas/My%20Photos/100%25", "nas", 445, "My Photos", ("100%",)),
        ("smb://[fe80::1]:445/photos", "fe80::1", 445, "photos", ()),
        (r"\\nas\Größe 📷", "nas", 445, "Größe 📷", ()),
    ],
)
def test_ways_to_write_it(text: str, host: str, port: int, share: str, folders: tuple[str, ...]) -> None:
    place = parse(text)
    assert (place.host, place.port, place.share, place.folders) == (host, port, share, folders)
    assert config(address=f" {text} ").place() == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nas",
        "photos",
        r"\\nas",
        "\\\\nas\\",
        "smb://",
        "smb:///photos",
        "smb://nas",
        "http://nas/photos",
        r"\\nas\photos\..\secret",
        r"\\nas\photos\\x",
        "smb://nas/photos/a%2F..%2Fb",
        "smb://nas:0/photos",
        "smb://nas:70000/photos",
        "smb://nas:port/photos",
        r"\\nas\pho:tos",
        r"\\nas\photos\ends.",
        f"smb://anna:{SECRET}@nas/photos",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=".") as refusal:
        parse(text)
    assert SECRET not in str(refusal.value)
    with pytest.raises(ValidationError):
        config(address=text)


def test_an_address_as_people_see_it() -> None:
    assert str(parse(r"\\nas\photos\raw")) == "smb://nas/photos/raw"
    assert str(parse("smb://[fe80::1]:4450/photos")) == "smb://[fe80::1]:4450/photos"


@pytest.mark.parametrize(
    ("given", "account"),
    [
        ({"user": "anna"}, "anna"),
        ({"user": "anna", "domain": "STUDIO"}, "STUDIO\\anna"),
        ({"user": "STUDIO\\anna"}, "STUDIO\\anna"),
        ({"user": "anna@studio.example"}, "anna@studio.example"),
    ],
)
def test_accounts(given: dict[str, str], account: str) -> None:
    assert config(**given).account() == account


@pytest.mark.parametrize("user", ["STUDIO\\anna", "anna@studio.example"])
def test_one_domain_is_enough(user: str) -> None:
    with pytest.raises(ValidationError, match="leave 'domain' empty"):
        config(user=user, domain="STUDIO")


def test_the_password_is_shown_to_nobody() -> None:
    settings = config(domain="STUDIO")
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_the_safe_way_is_the_default() -> None:
    assert (config().signing, config().minimum_proof) == ("required", "readback")


@pytest.mark.parametrize(
    "name",
    [
        *(f"a{character}b" for character in '<>:"/\\|?*\0\x1f'),
        "dot.",
        "space ",
        "...",
        "CON",
        "nul.jpg",
        "Com1.tar.gz",
        "LPT¹",
        "AUX .x",
        "n" * 256,
        "📷" * 128,
    ],
)
def test_names_that_cannot_be_stored(name: str) -> None:
    assert objection(name)


@pytest.mark.parametrize(
    "name",
    ["IMG_0001.CR3", "Größe 📷.jpg", "CONTACT.jpg", "COM10", "a b", ".x", "x~1", "n" * 255, "📷" * 127],
)
def test_names_that_can(name: str) -> None:
    assert objection(name) is None
