"""The proxy counts what went by and not more, and signatures survive it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from agent.backends import S3Config
from agent.backends.s3.client import make_client
from tests.backends.conftest import seaweedfs as seaweedfs  # its fixture, for this folder too
from tests.backends.places import MIB, SeaweedArea
from tests.backends.servers.seaweedfs import SeaweedFS
from tests.system.s3_proxy import ProxyHandle, proxy_in_thread

pytestmark = pytest.mark.server


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[ProxyHandle]:
    with proxy_in_thread(seaweedfs.s3_port) as handle:
        yield handle


@pytest.fixture
def area(seaweedfs: SeaweedFS, proxy: ProxyHandle) -> SeaweedArea:
    return SeaweedArea(seaweedfs, proxy.url)


def client_of(area: SeaweedArea, **changes: object) -> object:
    config = area.config(**changes)
    assert isinstance(config, S3Config)
    return make_client(config)


def test_counts(area: SeaweedArea, proxy: ProxyHandle) -> None:
    client: object = client_of(area)
    put = client.put_object  # type: ignore[attr-defined]
    key = f"{area.bucket}/a b/ä+.jpg"
    put(Bucket=area.bucket, Key="a b/ä+.jpg", Body=bytes(MIB), IfNoneMatch="*")
    with pytest.raises(ClientError):  # refused: not a publish
        put(Bucket=area.bucket, Key="a b/ä+.jpg", Body=bytes(10), IfNoneMatch="*")
    with pytest.raises(ClientError):  # signed by somebody else: refused through the proxy as without it
        wrong: object = client_of(area, secret_access_key="wrong")
        wrong.put_object(Bucket=area.bucket, Key="other.jpg", Body=b"1")  # type: ignore[attr-defined]
    assert proxy.stats.publishes == {key: 1}
    got = client.get_object(Bucket=area.bucket, Key="a b/ä+.jpg")["Body"].read()  # type: ignore[attr-defined]
    assert got == bytes(MIB)
    assert proxy.stats.reads == {key: 1}
    assert proxy.stats.response_body_bytes >= MIB
    assert MIB <= proxy.stats.request_body_bytes <= MIB + 11
    assert area.server.sizes(area.bucket) == {"a b/ä+.jpg": MIB}


def test_cut_and_refuse(area: SeaweedArea, proxy: ProxyHandle) -> None:
    client: object = client_of(area)
    put = client.put_object  # type: ignore[attr-defined]
    proxy.do(lambda proxy: proxy.cut_after(MIB // 2))
    with pytest.raises(ConnectionClosedError):
        put(Bucket=area.bucket, Key="x", Body=bytes(MIB))
    assert area.server.sizes(area.bucket) == {}
    proxy.do(lambda proxy: proxy.refuse())
    with pytest.raises(EndpointConnectionError):
        put(Bucket=area.bucket, Key="x", Body=bytes(MIB))
    proxy.do(lambda proxy: proxy.accept())
    put(Bucket=area.bucket, Key="x", Body=bytes(MIB))
    assert proxy.stats.publishes == {f"{area.bucket}/x": 1}


def test_an_answer_that_is_lost_is_counted(area: SeaweedArea, proxy: ProxyHandle) -> None:
    client: object = client_of(area)
    proxy.do(lambda proxy: proxy.lose_answer("PutObject"))
    with pytest.raises(ConnectionClosedError):
        client.put_object(Bucket=area.bucket, Key="x", Body=b"1")  # type: ignore[attr-defined]
    assert proxy.stats.publishes == {f"{area.bucket}/x": 1}
    assert area.server.sizes(area.bucket) == {"x": 1}
