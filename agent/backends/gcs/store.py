"""The calls to one bucket that the rest needs: client made at first use, every error a Fault."""

# mypy: allow-untyped-calls
# (google.auth says that it is typed, and mostly is not)

from __future__ import annotations

import json
import mimetypes
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from agent.backends.base import Entry
from agent.backends.gcs.client import Body, Link
from agent.backends.gcs.config import GcsConfig
from agent.backends.gcs.crc32c import to_hex
from agent.backends.gcs.faults import FAULTS, of_answer, of_exception
from agent.faults import Fault, fault

_READ_BYTES = 1 << 18
_MOST_ANSWER_BYTES = 1 << 20
_MOST_PAGES = 20
_NOT_UNDERSTOOD = (ValueError, TypeError, KeyError, AttributeError)  # by the libraries, of an answer


class Head(msgspec.Struct, frozen=True):
    """What the service says of one object."""

    size: int
    generation: str
    crc32c: str | None  # of the whole object, hex
    is_ours: bool  # carries the mark of a hotshoe


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def refusal(self) -> Fault:
        return of_answer(self.status, self.body, self.headers)

    def refusal_of_content(self) -> Fault:
        """Return the fault of a request that carried the file's checksum.

        Google answers a wrong one with 400 `invalid`, as it does much else; but the name has been looked at here, and
        the settings are such that they cannot be invalid.
        """
        refusal = self.refusal()
        is_content = self.status == 400 and refusal.code == "gcs.bad_settings"
        return fault(FAULTS, "gcs.damaged", refusal.detail) if is_content else refusal

    def head(self) -> Head:
        """Return the object whose resource this is."""
        try:
            said = json.loads(self.body)
            return Head(
                size=int(said["size"]),
                generation=str(said["generation"]),
                crc32c=to_hex(said["crc32c"]) if said.get("crc32c") else None,
                is_ours="hotshoe" in (said.get("metadata") or {}),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise fault(FAULTS, "gcs.unclassified", "the answer is no object") from error


class Store:
    """One bucket. Safe to use from several threads."""

    def __init__(self, config: GcsConfig):
        self._config = config
        self._timeout = (config.connect_timeout_seconds, config.read_timeout_seconds)
        self._lock = threading.Lock()
        self._link: Link | None = None
        self.in_doubt = False
        """Whether a request has gone unanswered since `head` was last answered: it may have been carried out."""

    def head(self, name: str) -> Head | None:
        """Return what stands under `name`, None for nothing. A bucket that is missing looks like nothing, too."""
        blob = self._do(lambda link: link.bucket.get_blob(name, timeout=self._timeout, retry=None))
        self.in_doubt = False
        if blob is None:
            return None
        return Head(
            size=int(blob.size),
            generation=str(blob.generation),
            crc32c=to_hex(blob.crc32c) if blob.crc32c else None,
            is_ours="hotshoe" in (blob.metadata or {}),
        )

    def list(self, prefix: str, most: int) -> list[Entry]:
        """Return what is right below `prefix`, up to `most` of it: names with it, folders first."""

        def ask(link: Link) -> list[Entry]:
            pages = link.client.list_blobs(
                link.bucket,
                prefix=prefix,
                delimiter="/",
                page_size=most,
                fields="items(name,size),prefixes,nextPageToken",
                timeout=self._timeout,
                retry=None,
            ).pages
            folders: list[Entry] = []
            files: list[Entry] = []
            for page, _ in zip(pages, range(_MOST_PAGES), strict=False):
                folders += [Entry(name=name, is_folder=True) for name in sorted(page.prefixes)]
                files += [Entry(name=blob.name, is_folder=False, size=blob.size) for blob in page]
                if len(folders) + len(files) >= most:
                    break
            return (folders + files)[:most]

        found: list[Entry] = self._do(ask)
        return found

    def delete(self, name: str, generation: str | None = None) -> None:
        """Delete; harmless when there is nothing, or another generation than the one that is meant."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        condition = int(generation) if generation else None

        def ask(link: Link) -> None:
            with suppress(NotFound, PreconditionFailed):
                link.bucket.delete_blob(
                    name, if_generation_match=condition, timeout=self._timeout, retry=None
                )

        self._do(ask)

    def begin_session(self, name: str, owner: str) -> str:
        """Begin a resumable upload that will replace nothing. Return its address, which is a secret."""

        def ask(link: Link) -> str:
            blob = link.bucket.blob(name)
            blob.metadata = {"hotshoe": owner}
            if self._config.storage_class:
                blob.storage_class = self._config.storage_class
            # The size is not told: the service would publish by itself when it is reached.
            url: str = blob.create_resumable_upload_session(
                content_type=content_type_of(name),
                timeout=self._timeout,
                checksum=None,
                if_generation_match=0,
                retry=None,
            )
            return url

        url: str = self._do(ask)
        if not self.is_here(url):
            raise fault(FAULTS, "gcs.bad_settings", f"uploads would go to {urlsplit(url).netloc}")
        return url

    def upload(self, name: str, owner: str, content: memoryview, crc32c: str | None) -> Answer:
        """Publish `content` by one request, if there is nothing under `name`. `crc32c`: base64, of the file."""
        said: dict[str, Any] = {"name": name, "metadata": {"hotshoe": owner}}
        said["contentType"] = content_type_of(name)
        if self._config.storage_class:
            said["storageClass"] = self._config.storage_class
        if crc32c:
            said["crc32c"] = crc32c
        line = "hotshoe-" + hex(time.time_ns())
        head = f"--{line}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(said)}\r\n"
        head += f"--{line}\r\nContent-Type: {said['contentType']}\r\n\r\n"
        return self.send(
            "POST",
            f"/upload/storage/v1/b/{quote(self._config.bucket)}/o?uploadType=multipart&ifGenerationMatch=0"
            + self._payer("&"),
            {"Content-Type": f"multipart/related; boundary={line}"},
            memoryview(head.encode()),
            content,
            memoryview(f"\r\n--{line}--\r\n".encode()),
        )

    def send(self, method: str, url: str, headers: dict[str, str], *pieces: memoryview) -> Answer:
        """Send one request; `url`: whole, or from the path on. Whatever is answered is returned, but for a 401."""

        def ask(link: Link) -> Answer:
            with link.http.request(
                method,
                url if "://" in url else link.endpoint + url,
                data=Body(*pieces),
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = response.raw.read(_MOST_ANSWER_BYTES, decode_content=True)
                answer = Answer(status=response.status_code, headers=response.headers, body=body)
            if answer.status == 401:
                raise answer.refusal()
            return answer

        found: Answer = self._do(ask)
        return found

    def read(self, name: str, generation: str) -> Iterator[bytes]:
        """Yield the object's content as it is stored, piece by piece."""

        def ask(link: Link) -> Any:
            response = link.http.request(
                "GET",
                f"{link.endpoint}/download/storage/v1/b/{quote(self._config.bucket)}/o/{quote(name, safe='')}"
                f"?alt=media&generation={generation}{self._payer('&')}",
                headers={"Accept-Encoding": "gzip"},  # or the service would unpack what was stored packed
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
            if response.status_code != 200:
                with response:
                    body = response.raw.read(_MOST_ANSWER_BYTES, decode_content=True)
                    raise of_answer(response.status_code, body, response.headers)
            return response

        with self._do(ask) as response:
            while piece := self._do(lambda _: response.raw.read(_READ_BYTES, decode_content=False)):
                yield piece

    def is_here(self, url: str) -> bool:
        """Say whether `url` is at the endpoint: our token goes nowhere else."""
        ours, other = urlsplit(self._do(lambda link: link.endpoint)), urlsplit(url)
        return (ours.scheme, ours.netloc) == (other.scheme, other.netloc)

    def close(self) -> None:
        with self._lock:
            if self._link is not None:
                self._link.close()
                self._link = None

    def _payer(self, start: str) -> str:
        project = self._config.user_project
        return f"{start}userProject={quote(project, safe='')}" if project else ""

    def _do(self, ask: Callable[[Link], Any]) -> Any:
        """Ask, and once more with a fresh token if the one that we had is no longer taken."""
        begun = time.monotonic()
        try:
            return self._try(ask)
        except Fault as refusal:
            if refusal.code != "gcs.wrong_key" or not self._try(lambda link: link.refresh(begun)):
                raise
        return self._try(ask)

    def _try(self, ask: Callable[[Link], Any]) -> Any:
        """Let no exception of the SDK or of what is below it out, nor into a traceback: some quote session addresses."""
        link: Link | None = None
        try:
            from google.api_core.exceptions import GoogleAPICallError
            from google.auth.exceptions import GoogleAuthError
            from requests.exceptions import RequestException
            from urllib3.exceptions import HTTPError

            link = self._connected()
            return ask(link)
        except Fault:
            raise
        except GoogleAPICallError as error:
            response = getattr(error, "response", None)
            body = response.content if response is not None else b""
            refusal = of_answer(int(error.code or 0), body, response.headers if response is not None else {})
        except (GoogleAuthError, RequestException, HTTPError, OSError, *_NOT_UNDERSTOOD) as error:
            self.in_doubt = True
            refusal = of_exception(error, link.token_request.skew_seconds if link else 0.0)
        raise refusal

    def _connected(self) -> Link:
        with self._lock:
            if self._link is None:
                self._link = Link(self._config)
            return self._link


def content_type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
