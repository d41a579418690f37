"""The checker: nothing wrong is found in the Registry, and what is wrong on purpose is found."""

import os
import re

import pytest

from tests.checker.run import check

SECONDS = 60.0
SABOTAGED_SECONDS = 12.0


@pytest.mark.timeout(300)
async def test_thirty_clients_two_replicas_and_kills(database: str) -> None:
    report = await check(database, SECONDS, seed=0)
    assert report.found == []
    assert report.kills >= 5
    assert report.cuts > 0 or "CROSSFADE_TEST_DATABASE" in os.environ
    assert report.events > 300


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("sabotage", "telling"),
    [
        (
            "isolation",
            "differ in|live rollouts|stable; by the ledger|second version stable|times in the ledger",
        ),
        ("requests", "repeated was refused|times in the ledger"),
        ("ledger", "is missing|not the one that event"),
    ],
)
async def test_sabotage_is_found(database: str, sabotage: str, telling: str) -> None:
    report = await check(database, SABOTAGED_SECONDS, seed=1, module="tests.checker.sabotaged", arguments=(sabotage,))
    assert any(re.search(telling, one) for one in report.found), report.found[:20]
