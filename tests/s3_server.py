"""A real S3-compatible server for tests of object stores."""

from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest


@contextmanager
def s3_bucket(name: str) -> Iterator[str]:
    """URL of an empty bucket, for this process and those it starts; skips where moto or s3fs is missing."""
    moto_server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        # Read by fsspec when it is imported: by the workers; here it is there already.
        environment.setenv("FSSPEC_S3_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.delenv("AWS_PROFILE", raising=False)
        store = fsspec.filesystem("s3", skip_instance_cache=True)
        store.mkdir(name)
        yield f"s3://{name}"
    store.clear_instance_cache()
    server.stop()
