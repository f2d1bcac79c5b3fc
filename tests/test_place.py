"""Which changes of a destination's settings send files to another place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.backends import Destination
from agent.settings.place import place_of


def place(**values: Any) -> str:
    return place_of(TypeAdapter[Any](Destination).validate_python(values))


SFTP = {
    "kind": "sftp",
    "host": "nas",
    "user": "me",
    "password": "p",
    "path": "/photos",
    "host_key": "SHA256:" + "A" * 43,
}
KEY = "a2V5" * 22


def azure(account: str, key: str) -> str:
    return place(
        kind="azure",
        container="photos",
        connection_string=f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={key}",
    )


@pytest.mark.parametrize("change", [{"host": "other"}, {"path": "/else"}, {"port": 2222}, {"user": "you"}])
def test_another_server_folder_or_user_is_another_place(change: dict[str, Any]) -> None:
    assert place(**SFTP) != place(**{**SFTP, **change})


@pytest.mark.parametrize(
    "change", [{"password": "q"}, {"workers": 3}, {"template": "{name}"}, {"read_timeout_seconds": 99}]
)
def test_what_does_not_move_files_is_none(change: dict[str, Any]) -> None:
    assert place(**SFTP) == place(**{**SFTP, **change})


def test_an_account_in_a_connection_string_counts_and_its_key_does_not() -> None:
    assert azure("here", KEY) == azure("here", KEY[::-1])
    assert azure("here", KEY) != azure("there", KEY)


def test_a_bucket_of_one_name_at_another_address_is_another_place() -> None:
    one = {"kind": "s3", "bucket": "photos", "access_key_id": "a", "secret_access_key": "b"}
    assert place(**one, endpoint_url="http://nas:8333") != place(**one, endpoint_url="http://other:8333")
