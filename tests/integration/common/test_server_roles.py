"""Who is let in under TLS, and what others are told."""

from pathlib import Path

import grpc
import pytest
from grpc import aio

from crossfade.errors import details_of
from services.common.settings import ServiceSettings
from tests.integration.common.house import House, files, read


async def test_a_certificate_with_a_role_is_let_in(secured: House, folder: Path) -> None:
    assert (await read(secured, files(folder, "evaluator"))).metrics_data


@pytest.mark.parametrize("who", ["client", "publisher"])
async def test_a_role_that_may_not_is_told_which_may(secured: House, folder: Path, who: str) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await read(secured, files(folder, who))
    details = details_of(caught.value)
    assert (details.code, details.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    assert "evaluator" in details.metadata["roles"]


async def test_no_certificate_and_a_foreign_one_are_not_let_in(secured: House, folder: Path) -> None:
    for settings in (ServiceSettings(), files(folder, "evaluator", ca="foreign")):
        with pytest.raises(aio.AioRpcError) as caught:
            await read(secured, settings)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_half_of_the_tls_files_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="together"):
        _ = ServiceSettings(tls_ca=folder / "dev" / "ca.pem").tls
