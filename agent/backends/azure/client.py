"""The SDK's client as we want it: no retries, one buffer at a time, every send bounded."""

from __future__ import annotations

from typing import Any

from agent.backends.azure.config import AzureConfig
from agent.backends.azure.faults import FAULTS
from agent.faults import fault

READ_BYTES = 4 << 20
"""What one answer to a download brings, and what it costs in memory."""

_LARGEST_PUT = 64 << 20  # the most `block_bytes`: a file of one block is always one Put Blob
_IDENTITY_SECONDS = 10


def make_client(config: AzureConfig) -> Any:
    """Return a container's client. It may be used from several threads; making it takes about 0.3 s, once."""
    from azure.storage.blob import ContainerClient

    if config.ca_bundle and not config.ca_bundle.is_file():
        raise fault(FAULTS, "azure.bad_settings", f"not a file: {config.ca_bundle}")
    return ContainerClient(
        config.service_url(),
        config.container,
        credential=_credential(config),
        transport=_transport(config),
        retry_total=0,
        max_single_put_size=_LARGEST_PUT,
        max_single_get_size=READ_BYTES,
        max_chunk_get_size=READ_BYTES,
        user_agent="hotshoe",
    )


def _credential(config: AzureConfig) -> Any:
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

    if config.managed_identity:
        from azure.identity import ManagedIdentityCredential

        return ManagedIdentityCredential(
            client_id=config.managed_identity_client_id,
            retry_total=0,
            connection_timeout=_IDENTITY_SECONDS,
            read_timeout=_IDENTITY_SECONDS,
        )
    key, sas = config.key(), config.sas_token()
    if key is not None:
        return AzureNamedKeyCredential(config.account_name() or "", key)
    return AzureSasCredential(sas or "")


def _transport(config: AzureConfig) -> Any:
    from azure.core.pipeline.transport import RequestsTransport

    class PiecewiseTransport(RequestsTransport):  # type: ignore[misc]
        """Gives every body to the socket in small pieces: see `Body`."""

        def send(self, request: Any, **options: Any) -> Any:
            # `data` belongs to the SDK's older kind of request, `_data` to its newer one.
            name = "_data" if hasattr(request, "_data") else "data"
            body = getattr(request, name, None)
            if isinstance(body, bytes) and body:
                setattr(request, name, Body(memoryview(body)))
            return super().send(request, **options)

    return PiecewiseTransport(
        connection_timeout=config.connect_timeout_seconds,
        read_timeout=config.read_timeout_seconds,
        connection_verify=str(config.ca_bundle) if config.ca_bundle else True,
        connection_data_block_size=1 << 18,
    )


class Body:
    """A block as a file over the caller's buffer, so that nothing is copied.

    Being a file makes urllib3 send 16 KiB at a time: the socket's timeout (`connection_timeout` while a body is
    sent) counts for one send, and 4 MiB in one send would fail on every uplink under 4 Mbit/s.
    """

    def __init__(self, data: memoryview):
        self._data = data
        self._position = 0

    def __len__(self) -> int:
        return len(self._data)

    def read(self, size: int = -1) -> memoryview:
        end = len(self._data) if size < 0 else self._position + size
        view = self._data[self._position : end]
        self._position += len(view)
        return view

    def seek(self, position: int, whence: int = 0) -> int:
        self._position = position + (0, self._position, len(self._data))[whence]
        return self._position

    def tell(self) -> int:
        return self._position
