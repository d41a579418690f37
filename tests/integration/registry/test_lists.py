"""Filters of lists, pages that hold for one filter, and field masks."""

import asyncio

import grpc
import psycopg
from google.protobuf import field_mask_pb2, timestamp_pb2

from crossfade.cli.connect import Service
from crossfade.cli.registry_client import Registry as Command
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database import tables
from tests.integration.registry.harness import Registry, new_id, plan, refused

FAILED = resources_pb2.VERSION_STATE_FAILED
PENDING = resources_pb2.VERSION_STATE_PENDING


async def filled(registry: Registry) -> None:
    """v1 stable, v2 failed in rollout 1, v3 pending, v4 under test in eu in rollout 2."""
    rollout = await registry.running()
    await registry.rollback(rollout)
    await registry.publish(without_rollout=True)
    await registry.publish(segment="eu", rollout=plan(500))


async def versions(registry: Registry, **wanted: object) -> list[str]:
    """Ids of the versions listed."""
    request = service_pb2.ListVersionsRequest(parent="models/m", **wanted)  # type: ignore[arg-type]  # by name
    return [one.name.rpartition("/")[2] for one in (await registry.stub.ListVersions(request)).versions]


async def rollouts(registry: Registry, **wanted: object) -> list[str]:
    """Numbers of the rollouts listed."""
    request = service_pb2.ListRolloutsRequest(parent="models/-", **wanted)  # type: ignore[arg-type]  # by name
    return [one.name.rpartition("/")[2] for one in (await registry.stub.ListRollouts(request)).rollouts]


async def events(registry: Registry, **wanted: object) -> list[str]:
    """Types of the events listed, oldest first."""
    request = service_pb2.ListEventsRequest(parent="models/m", **wanted)  # type: ignore[arg-type]  # by name
    return [one.type for one in (await registry.stub.ListEvents(request)).events][::-1]


async def test_versions_by_lane_and_state(registry: Registry) -> None:
    await filled(registry)
    assert await versions(registry) == ["v4", "v3", "v2", "v1"]
    assert await versions(registry, segment="eu") == ["v4", "v1"]
    assert await versions(registry, segment="") == ["v3", "v2", "v1"]
    assert await versions(registry, states=[FAILED, PENDING]) == ["v3", "v2"]
    assert await versions(registry, segment="eu", states=[resources_pb2.VERSION_STATE_STABLE]) == ["v1"]


async def test_rollouts_by_lane_version_and_state(registry: Registry) -> None:
    await filled(registry)
    assert await rollouts(registry) == ["2", "1"]
    assert await rollouts(registry, segment="eu") == ["2"]
    assert await rollouts(registry, version="v2") == ["1"]
    assert await rollouts(registry, states=[resources_pb2.ROLLOUT_STATE_ROLLED_BACK]) == ["1"]
    assert await rollouts(registry, live_only=True) == ["2"]


async def test_the_latest_rollout_of_a_lane_is_found_behind_hundreds_of_others(
    registry: Registry, shared_database: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    await filled(registry)
    await registry.rollback(await registry.rollout(2))
    columns = [column.name for column in tables.rollouts.columns]
    changed = ", ".join({"number": "2 + n", "segment": "''"}.get(name, name) for name in columns)
    shared_database.execute(
        f"INSERT INTO rollouts ({', '.join(columns)}) "  # noqa: S608 - names of columns
        f"SELECT {changed} FROM rollouts, generate_series(1, 501) AS n WHERE number = 2".encode()
    )

    def latest(segment: str) -> str:
        with grpc.insecure_channel(registry.app.address) as channel:
            asked = Command(Service("registry", registry.app.address, channel, ()))
            found = asked.latest_rollout("m", segment)
        return "" if found is None else found.name.rpartition("/")[2]

    assert await asyncio.to_thread(latest, "eu") == "2"
    assert await asyncio.to_thread(latest, "") == "503"
    assert await asyncio.to_thread(latest, "us") == ""


async def test_events_by_lane_version_type_and_time(registry: Registry) -> None:
    await filled(registry)
    every = await registry.events()
    assert await events(registry, version="v2") == [one.type for one in every if one.version == "v2"]
    assert await events(registry, types=["VERSION_STABLE", "ROLLOUT_ROLLED_BACK"]) == [
        "VERSION_STABLE",
        "ROLLOUT_ROLLED_BACK",
    ]
    assert await events(registry, segment="eu", types=["SEGMENT_SET", "MODEL_CREATED"]) == ["SEGMENT_SET"]
    assert await events(registry, segment="us", types=["VERSION_STABLE"]) == []
    assert await events(registry, types=sorted({one.type for one in every})) == [one.type for one in every]
    asked = service_pb2.ListEventsRequest(parent="models/m", types=["VERSION_STABLE", "VERSION_PUBLISHED"], page_size=2)
    paged: list[resources_pb2.Event] = []
    while True:
        page = await registry.stub.ListEvents(asked)
        paged += page.events
        if not page.next_page_token:
            break
        asked.page_token = page.next_page_token
    assert paged[::-1] == [one for one in every if one.type in asked.types]
    cut = every[3].time
    before, after = await events(registry, end_time=cut), await events(registry, start_time=cut)
    assert before + after == [one.type for one in every]
    assert 0 < len(before) < len(every)


async def test_events_of_one_version_and_of_some_types(registry: Registry) -> None:
    await filled(registry)
    types = ["VERSION_PUBLISHED", "ROLLOUT_STARTED"]
    assert await events(registry, version="v2", types=types) == types
    assert await events(registry, version="v3", types=types) == ["VERSION_PUBLISHED"]


async def test_events_of_all_models_by_type_and_by_a_rollout(registry: Registry) -> None:
    await registry.running("a")
    await registry.running("b")

    async def told(**wanted: object) -> list[tuple[str, str]]:
        request = service_pb2.ListEventsRequest(parent="models/-", **wanted)  # type: ignore[arg-type]  # by name
        return [(one.model, one.type) for one in (await registry.stub.ListEvents(request)).events][::-1]

    assert await told(types=["MODEL_CREATED", "ROLLOUT_STARTED"]) == [
        ("a", "MODEL_CREATED"),
        ("a", "ROLLOUT_STARTED"),
        ("b", "MODEL_CREATED"),
        ("b", "ROLLOUT_STARTED"),
    ]
    # Each model numbers its rollouts by itself.
    for model in ("a", "b"):
        of_rollout = [(model, one.type) for one in await registry.events(model) if one.rollout]
        assert of_rollout
        assert await told(rollout=f"models/{model}/rollouts/1") == of_rollout


async def test_a_page_holds_for_its_filter(registry: Registry) -> None:
    await filled(registry)
    request = service_pb2.ListVersionsRequest(parent="models/m", segment="", page_size=2)
    first = await registry.stub.ListVersions(request)
    request.page_token = first.next_page_token
    rest = await registry.stub.ListVersions(request)
    assert [one.name[-2:] for one in (*first.versions, *rest.versions)] == ["v3", "v2", "v1"]
    assert not rest.next_page_token
    request.segment = "eu"
    assert (await refused(registry.stub.ListVersions(request))).field == "page_token"


async def test_filters_that_make_no_sense(registry: Registry) -> None:
    await filled(registry)
    assert (await refused(versions(registry, states=[0]))).field == "states[0]"
    assert (await refused(rollouts(registry, states=[99]))).field == "states[0]"
    unknown = await refused(events(registry, types=["LANE_UNDONE", "ROLLOUT_ROLLBACK"]))
    assert unknown.field == "types[1]"
    assert "ROLLOUT_ROLLED_BACK" in unknown.message
    moment = (await registry.events())[0].time
    assert (await refused(events(registry, start_time=moment, end_time=moment))).field == "end_time"
    assert (await refused(versions(registry, segment="no segment"))).field == "segment"


async def update(
    registry: Registry, paths: list[str] | None = None, name: str = "models/m", description: str = "", etag: str = ""
) -> resources_pb2.Model:
    """Changes the model."""
    request = service_pb2.UpdateModelRequest(
        model=resources_pb2.Model(name=name, description=description, etag=etag), request_id=new_id()
    )
    if paths is not None:
        request.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=paths))
    return await registry.stub.UpdateModel(request)


async def test_a_model_is_described(registry: Registry) -> None:
    created = await registry.create()
    changed = await update(registry, ["description"], description="Who leaves.")
    assert (changed.description, changed.etag != created.etag) == ("Who leaves.", True)
    assert (await registry.events())[-1].type == "MODEL_UPDATED"
    count = len(await registry.events())
    # Nothing to change is no event; without a mask, what is not set stays.
    for call in (update(registry, description="Who leaves."), update(registry), update(registry, [])):
        assert (await call).description == "Who leaves."
    assert len(await registry.events()) == count
    # A mask that names nothing is none.
    assert (await update(registry, [], description="Who stays.")).description == "Who stays."
    assert (await update(registry, ["*"])).description == ""


async def test_refusals_of_update(registry: Registry) -> None:
    created = await registry.create()
    await registry.publish()
    assert (await refused(update(registry, ["lanes"]))).field == "update_mask"
    stale = await refused(update(registry, etag=created.etag, description="x"))
    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_STALE")
    missing = await refused(update(registry, name="models/none", description="x"))
    assert missing.reason == "MODEL_NOT_FOUND"


async def test_a_page_token_holds_whatever_the_order_of_the_words(registry: Registry) -> None:
    await filled(registry)
    types = ["VERSION_STABLE", "VERSION_PUBLISHED", "MODEL_CREATED"]
    request = service_pb2.ListEventsRequest(parent="models/m", types=types, page_size=2)
    token = (await registry.stub.ListEvents(request)).next_page_token
    turned = service_pb2.ListEventsRequest(parent="models/m", types=types[::-1], page_size=2, page_token=token)
    assert (await registry.stub.ListEvents(turned)).events


async def test_times_that_are_none(registry: Registry) -> None:
    await registry.create()
    far = timestamp_pb2.Timestamp(seconds=10**13)
    assert (await refused(events(registry, start_time=far))).field == "start_time"
    request = service_pb2.GetModelRequest(name="models/m", read_time=far)
    assert (await refused(registry.stub.GetModel(request))).field == "read_time"
    request.read_time.FromSeconds(4_000_000_000)
    assert (await refused(registry.stub.GetModel(request))).reason == "HISTORY_UNKNOWN"
