"""The checker: nothing wrong is found in the Registry, and what is wrong on purpose is found."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.database.engine import open_engine, parse_url
from registry.database.schema import migrate
from services.local.postgres import Postgres
from tests.checker.clients import KINDS
from tests.checker.journal import Told
from tests.checker.run import check
from tests.support.crashing import CrashingPostgres
from tests.support.postgres import Server

SECONDS = 60.0
SABOTAGED_SECONDS = 15.0
FEW = 5
LONGEST_SECONDS = 180.0
"""On a machine that is busy with something else, so that every kind of operation succeeds as often."""


@dataclass(frozen=True, slots=True)
class Harassed:
    """The URL of a database, and what crashes it; None: the server was given, and is left alone."""

    url: str
    crash: Callable[[], None] | None


@pytest.fixture
def harassed(postgres: Server, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harassed]:
    """One that keeps what it has acknowledged, as those of other tests do not."""
    if not isinstance(postgres, Postgres):
        yield Harassed(request.getfixturevalue("database"), None)
        return
    with CrashingPostgres(tmp_path / "postgres") as server:
        server.create_database("kept")
        engine = open_engine(parse_url(server.url("kept")), 1)
        migrate(engine)
        engine.dispose()
        yield Harassed(server.url("kept"), server.crash)


@pytest.mark.timeout(400)
async def test_thirty_clients_two_replicas_and_kills(harassed: Harassed) -> None:
    report = await check(harassed.url, SECONDS, seed=0, each=FEW, longest=LONGEST_SECONDS, crash=harassed.crash)
    assert report.found == []
    assert report.kills >= 5
    assert report.cuts > 0
    assert report.crashes >= 2 or harassed.crash is None
    assert report.resumed >= 5
    rare = [kind for kind in KINDS if report.told[f"{kind} {Told.OK}"] < FEW]
    assert not rare, f"{rare} hardly ever succeeded: {report.told}"
    assert report.types["ROLLOUT_RUNNING"] >= FEW, report.types


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "telling",
    [
        pytest.param(
            {"isolation": "differ in|live rollouts|by the ledger|second version|times in the ledger|are both"},
            # A CockroachDB knows no weaker isolation, unless its operator allows one.
            marks=pytest.mark.postgres_only,
        ),
        {"requests": "repeated was refused|times in the ledger", "watches": r"got revision \d+ after"},
        {
            "ledger": "is missing|not the one that event",
            "states": r"differ in .*\(None, '[A-Z]+'\)",
            "clock": "began after .* and is revision",
        },
        {
            "etags": "an etag that nothing ever had",
            "twice": "ROLLOUT_RUNNING of rollout [0-9]+, which was RUNNING",
            "untold": "ROLLOUT_[A-Z]+ of rollout [0-9]+, which was WAITING_READY",
        },
    ],
    ids=" and ".join,
)
async def test_sabotage_is_found(own_databases: Callable[[], str], telling: Mapping[str, str]) -> None:
    found: list[str] = []
    # Whether writers meet is a matter of luck: so often none do in one try out of ten.
    for seed in (1, 2, 3, 4):
        report = await check(
            own_databases(), SABOTAGED_SECONDS, seed, module="tests.checker.sabotaged", arguments=tuple(telling)
        )
        found += report.found
        missing = [name for name, words in telling.items() if not any(re.search(words, one) for one in found)]
        if not missing:
            return
    pytest.fail(f"{missing} not found; what was: {found[:20]}")
