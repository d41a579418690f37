"""Which models a Worker has, of those that there are."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from crossfade.registry.v1 import resources_pb2
from services.common.watch import Lanes
from services.worker.app import App
from services.worker.domain import Lane
from services.worker.settings import WorkerSettings


@pytest.mark.parametrize(
    ("models", "has", "has_not"),
    [
        ("", ["churn", "fraud"], []),
        ("churn", ["churn"], ["churn-2", "chur", "fraud"]),
        ("churn, fraud-*", ["churn", "fraud-", "fraud-eu"], ["churn-2", "fraud", "a-fraud-"]),
        ("*", ["churn"], []),
        ("a.b*", ["a.b", "a.bc"], ["aab"]),
    ],
)
def test_models_are_named_or_how_their_names_begin(models: str, has: list[str], has_not: list[str]) -> None:
    settings = WorkerSettings(models=models)
    assert [name for name in (*has, *has_not) if settings.has_model(name)] == has


@pytest.mark.parametrize("text", [" ", ",", "churn,", "*-eu", "churn;fraud", "a b", "Churn", "models/churn"])
def test_models_that_are_no_list_of_names(text: str) -> None:
    with pytest.raises(ValidationError, match="models"):
        WorkerSettings(models=text)


async def test_a_worker_follows_the_routes_of_its_models_and_wakes_for_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = list[list[str]]()
    app = App(
        WorkerSettings(
            listen="127.0.0.1:0",
            registry="127.0.0.1:1",
            artifact_cache=tmp_path,
            models="churn",
            device="cpu",
            log_level="critical",
        )
    )

    def follow(lanes: Sequence[Lane]) -> None:
        followed.append([f"{lane.model}/{lane.segment}@{lane.epoch}" for lane in lanes])

    monkeypatch.setattr(app.supervisor, "follow", follow)

    def routes(model: str, epoch: int, segment: str = "") -> resources_pb2.LaneRoutes:
        return resources_pb2.LaneRoutes(model=model, segment=segment, epoch=epoch)

    lanes: Lanes = {("fraud", ""): routes("fraud", 1)}
    take = app._on_routes
    take(1, dict(lanes))
    take(2, lanes | {("fraud", ""): routes("fraud", 2)})
    assert followed == [[]]
    lanes["churn", ""] = routes("churn", 1)
    take(3, dict(lanes))
    take(4, lanes | {("fraud", "eu"): routes("fraud", 1, "eu")})
    assert followed[1:] == [["churn/@1"]]
    lanes["churn", ""] = routes("churn", 2)
    lanes["churn", "eu"] = routes("churn", 1, "eu")
    take(5, dict(lanes))
    del lanes["churn", "eu"]
    take(6, dict(lanes))
    assert followed[2:] == [["churn/@2", "churn/eu@1"], ["churn/@2"]]
    await app.stop()
