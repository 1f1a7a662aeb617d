"""Whose an error is: a storage's, which may pass, or ours, which will not."""

import errno
from typing import Any

import aiohttp
import botocore.exceptions
import pytest
from fsspec.exceptions import FSTimeoutError

from pipelines.output import output_path
from pipelines.remote import errors
from tests.pipelines.remote.runs import URL
from wsi.errors import UnreachableOutputError
from wsi.remote import is_of_storage


@pytest.mark.parametrize("defect", [KeyError("ours"), TypeError("ours"), AssertionError("ours")])
def test_a_defect_of_ours_is_no_silence_of_the_storage(bucket: Any, defect: Exception) -> None:
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise defect

    with pytest.raises(type(defect)) as raised:
        errors.patiently(output_path(URL), ask)
    assert raised.value is defect
    assert len(asked) == 1


@pytest.mark.parametrize(
    "error",
    [
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        botocore.exceptions.ResponseStreamingError(error="cut"),
        botocore.exceptions.ClientError({"Error": {"Code": "SlowDown"}}, "PutObject"),
        aiohttp.ClientPayloadError("cut"),
        FSTimeoutError(),
        ConnectionResetError(errno.ECONNRESET, "reset"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_clients_raise_is_tried_again(bucket: Any, error: Exception) -> None:
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        if len(asked) < 3:
            raise error
        return "there"

    assert errors.patiently(output_path(URL), ask) == "there"
    with (
        pytest.raises(UnreachableOutputError, match=type(error).__name__),
        errors.explained_store(output_path(URL)),
    ):
        raise error


def test_an_error_of_a_client_that_is_not_installed_is_known_by_its_package() -> None:
    refused = type("HttpError", (Exception,), {"__module__": "gcsfs.retry"})
    derived = type("Derived", (refused,), {"__module__": "tests"})
    assert is_of_storage(refused())
    assert is_of_storage(derived())
    assert not is_of_storage(type("HttpError", (Exception,), {"__module__": "gcsfsx"})())
