"""The boto3 client as we want it: no retries, no transfer manager, no checksums of its own."""

from __future__ import annotations

from typing import Any

from agent.backends.s3.config import S3Config
from agent.backends.s3.faults import FAULTS
from agent.faults import fault

_MOST_CONNECTIONS = 16  # the most `workers` that a destination can have
_METADATA_SECONDS = 2
_LOCAL = {"env", "shared-credentials-file", "config-file", "boto-config"}
_ROLES = {"assume-role-with-web-identity", "container-role", "iam-role"}


def make_client(config: S3Config) -> Any:
    """Return a client. It may be used from several threads; making it takes about 0.4 s and 30 MiB, once."""
    from botocore.config import Config as ClientConfig

    if config.ca_bundle and not config.ca_bundle.is_file():
        raise fault(FAULTS, "s3.bad_settings", f"not a file: {config.ca_bundle}")
    session = _session(config)
    style = config.addressing
    if style == "auto":
        style = "path" if config.endpoint_url else "virtual"
    client = session.client(
        "s3",
        endpoint_url=config.endpoint_url,
        region_name=config.region or session.region_name or "us-east-1",
        verify=str(config.ca_bundle) if config.ca_bundle else None,
        config=ClientConfig(
            connect_timeout=config.connect_timeout_seconds,
            read_timeout=config.read_timeout_seconds,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=_MOST_CONNECTIONS,
            tcp_keepalive=True,
            signature_version="s3v4",
            # Our own CRC32C goes along where the store wants one; botocore's would need the awscrt package.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": style},
            user_agent_extra="hotshoe",
        ),
    )
    client.meta.events.register("before-call.s3.HeadBucket", _refuse)
    return client


def _session(config: S3Config) -> Any:
    """Return a session that looks for credentials only where the settings say, and never waits long for them.

    botocore would ask the network for a role whenever it finds no keys: on a Pi, seconds of silence with each try.
    """
    from boto3.session import Session
    from botocore.session import Session as Core

    core = Core(profile=config.profile)
    core.set_config_variable("metadata_service_timeout", _METADATA_SECONDS)
    core.set_config_variable("metadata_service_num_attempts", 1)
    resolver = core.get_component("credential_provider")
    for provider in list(resolver.providers):
        if not _may_ask(config.credentials, provider.METHOD):
            resolver.remove(provider.METHOD)
    session = Session(
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=config.secret_access_key.get_secret_value()
        if config.secret_access_key
        else None,
        aws_session_token=config.session_token.get_secret_value() if config.session_token else None,
        botocore_session=core,
    )
    if config.credentials == "role" and session.get_credentials() is None:
        raise fault(FAULTS, "s3.no_role")
    return session


def _may_ask(credentials: str, method: str) -> bool:
    """Say whether botocore's provider `method` belongs to what the settings call `credentials`."""
    if credentials == "keys":
        return method in _LOCAL
    return (method in _ROLES) == (credentials == "role")


def _refuse(**_: Any) -> None:
    """Answer HeadBucket ourselves: with nothing.

    We never send it, botocore does, to learn the region after a redirect that names none (Amazon's do). A server
    that redirects this as well is asked again until Python's stack ends.
    """
    from botocore.exceptions import ClientError

    raise ClientError({"Error": {}, "ResponseMetadata": {"HTTPHeaders": {}}}, "HeadBucket")


class Body:
    """A part as a file over the caller's buffer, so that nothing is copied.

    Being a file also makes botocore ask before it sends (100-continue), and makes urllib3 send 16 KiB at a time:
    the socket's timeout counts for one send, and 8 MiB in one send would fail on every uplink under 7 Mbit/s.
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
