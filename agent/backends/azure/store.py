"""The calls to one container that the rest needs: client made at first use, every error a Fault."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from agent.backends.azure.client import Body, make_client
from agent.backends.azure.config import AzureConfig
from agent.backends.azure.faults import FAULTS, code_of, status_of, translated
from agent.backends.base import Entry
from agent.faults import Fault, fault


class Head(msgspec.Struct, frozen=True):
    """What the service says of one blob."""

    size: int
    etag: str
    version: str | None
    md5: str | None  # hex, as stored: of a blob made of blocks it is whatever the client said
    metadata: Mapping[str, str]  # names in lower case: their case does not count


class Block(msgspec.Struct, frozen=True):
    """One block in a list of the service's."""

    id: str
    size: int


class Made(msgspec.Struct, frozen=True):
    """What a publish made."""

    etag: str
    version: str | None


class Store:
    """One container. Safe to use from several threads."""

    def __init__(self, config: AzureConfig):
        self._config = config
        self._lock = threading.Lock()
        self._client: Any = None

    def url(self, key: str) -> str:
        return f"{self._config.service_url()}/{self._config.container}/{key}"

    def stage(self, key: str, block_id: str, data: memoryview, md5: bytes | None = None) -> None:
        """Stage a block, checked against its MD5 (`md5` instead, if given) by the service as it arrives."""
        headers = {"Content-MD5": _base64(md5 or hashlib.md5(data, usedforsecurity=False).digest())}
        with translated(self._config):
            self._blob(key).stage_block(block_id, Body(data), length=len(data), headers=headers)

    def blocks(self, key: str) -> tuple[list[Block], list[Block]]:
        """Return the committed and the uncommitted blocks of `key`; none of either if there is no such blob."""
        try:
            with translated(self._config):
                lists = self._blob(key).get_block_list("all")
        except Fault as refusal:
            if code_of(refusal) in ("BlobNotFound", "InvalidBlobType"):
                return [], []
            raise
        committed, uncommitted = ([Block(id=each.id, size=each.size) for each in half] for half in lists)
        return committed, uncommitted

    def commit(self, key: str, ids: Sequence[str], metadata: Mapping[str, str], **attributes: Any) -> Made:
        """Publish staged blocks as `key`, if nothing is published there."""
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock, BlockState

        listed = [BlobBlock(each, BlockState.UNCOMMITTED) for each in ids]
        with translated(self._config):
            answer = self._blob(key).commit_block_list(
                listed,
                metadata=dict(metadata),
                match_condition=MatchConditions.IfMissing,
                **_attributes(attributes),
            )
        return Made(etag=answer["etag"], version=answer.get("version_id"))

    def put(self, key: str, content: bytes, metadata: Mapping[str, str], **attributes: Any) -> Made:
        """Publish `content` as `key`, checked by the service as it arrives, if nothing is published there."""
        headers = {"Content-MD5": _base64(hashlib.md5(content, usedforsecurity=False).digest())}
        with translated(self._config):
            answer = self._blob(key).upload_blob(
                content,
                length=len(content),
                metadata=dict(metadata),
                overwrite=False,
                headers=headers,
                **_attributes(attributes),
            )
        return Made(etag=answer["etag"], version=answer.get("version_id"))

    def head(self, key: str) -> Head | None:
        """Return what is published under `key`, None for nothing."""
        try:
            with translated(self._config):
                answer = self._blob(key).get_blob_properties()
        except Fault as refusal:
            # A HEAD has no body, but Azure names its code in a header; others may name none.
            if status_of(refusal) == 404 and code_of(refusal) != "ContainerNotFound":
                return None
            raise
        md5 = answer.content_settings.content_md5
        return Head(
            size=answer.size,
            etag=answer.etag,
            version=answer.version_id,
            md5=bytes(md5).hex() if md5 else None,
            metadata={name.lower(): value for name, value in (answer.metadata or {}).items()},
        )

    def read(self, key: str, take: Callable[[bytes], object]) -> None:
        """Give the blob's content to `take`, piece by piece."""
        with translated(self._config):
            for piece in self._blob(key).download_blob(max_concurrency=1).chunks():
                take(piece)

    def delete(self, key: str, etag: str | None = None) -> None:
        """Delete `key`, with `etag` only that very blob; harmless when there is nothing.

        A soft-deleted copy stays as long as the account is set to keep it.
        """
        from azure.core import MatchConditions

        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        try:
            with translated(self._config):
                self._blob(key).delete_blob(**condition)
        except Fault as refusal:
            if code_of(refusal) != "BlobNotFound":
                raise

    def names(self, start: str, most: int) -> list[str]:
        """Return at most `most` names that begin with `start`."""
        with translated(self._config):
            pages = self._connected().list_blob_names(name_starts_with=start, results_per_page=most)
            return [name for name, _ in zip(pages, range(most), strict=False)]

    def entries(self, start: str, most: int) -> Iterator[Entry]:
        """Yield at most `most` entries of the folder whose names begin with `start`."""
        with translated(self._config):
            found = self._connected().walk_blobs(name_starts_with=start, delimiter="/", results_per_page=most)
            for item, _ in zip(found, range(most), strict=False):
                if item.name.endswith("/"):
                    yield Entry(name=item.name[len(start) : -1], is_folder=True)
                else:
                    yield Entry(name=item.name[len(start) :], is_folder=False, size=item.size)

    def keeps_what_is_deleted(self) -> bool | None:
        """Say whether a retention policy or a legal hold lies on the container; None if we may not know."""
        try:
            with translated(self._config):
                container = self._connected().get_container_properties()
        except Fault as refusal:
            if status_of(refusal) == 403:
                return None
            raise
        return bool(
            container.has_immutability_policy
            or container.has_legal_hold
            or container.immutable_storage_with_versioning_enabled
        )

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _blob(self, key: str) -> Any:
        return self._connected().get_blob_client(key)

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                try:
                    self._client = make_client(self._config)
                except ValueError:  # its text may quote what it was given
                    raise fault(FAULTS, "azure.bad_settings", "the SDK does not take them") from None
            return self._client


def _attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the SDK's arguments for ``content_type`` and ``tier``."""
    from azure.storage.blob import ContentSettings, StandardBlobTier

    arguments: dict[str, Any] = {
        "content_settings": ContentSettings(content_type=attributes.get("content_type"))
    }
    if attributes.get("tier"):
        arguments["standard_blob_tier"] = StandardBlobTier(attributes["tier"])
    return arguments


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
