"""Models, versions and events over RPC: read, listed, paged."""

from crossfade.ledger import event_hash
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import FAILED, LIVE, READY, Registry, new_id, refused, version


async def test_models(registry: Registry) -> None:
    request = service_pb2.CreateModelRequest(
        model_id="churn", model=resources_pb2.Model(description="Who leaves."), request_id=new_id()
    )
    made = await registry.stub.CreateModel(request)
    assert (made.name, made.description) == ("models/churn", "Who leaves.")
    assert [lane.segment for lane in made.lanes] == [""]
    assert made == await registry.model("churn")
    for name in ("a", "b", "d"):
        await registry.create(name)
    first = await registry.stub.ListModels(service_pb2.ListModelsRequest(page_size=3))
    assert [model.name for model in first.models] == ["models/a", "models/b", "models/churn"]
    second = await registry.stub.ListModels(
        service_pb2.ListModelsRequest(page_size=3, page_token=first.next_page_token)
    )
    assert [model.name for model in second.models] == ["models/d"]
    assert not second.next_page_token


async def test_model_etag_follows_its_lanes(registry: Registry) -> None:
    before = await registry.create()
    await registry.publish()
    after = await registry.model()
    assert before.etag != after.etag
    assert before.lanes[0].etag != after.lanes[0].etag
    worker = registry.worker()
    await worker.ready("v1")
    assert (await registry.model()).etag == after.etag


async def test_versions(registry: Registry) -> None:
    await registry.create()
    published = [await registry.publish(version=version(description="First.")), await registry.publish(version_id="v3")]
    said = [one.reason for one in await registry.events() if one.type == "VERSION_PUBLISHED"]
    assert said == ["First.", "v3 was published."]
    # The next number is taken by a name that somebody chose.
    published.append(await registry.publish())
    assert [one.version.name.rpartition("/")[2] for one in published] == ["v1", "v3", "v4"]
    page = await registry.stub.ListVersions(service_pb2.ListVersionsRequest(parent="models/m", page_size=2))
    assert [one.name.rpartition("/")[2] for one in page.versions] == ["v4", "v3"]
    rest = await registry.stub.ListVersions(
        service_pb2.ListVersionsRequest(parent="models/m", page_size=2, page_token=page.next_page_token)
    )
    assert [one.description for one in rest.versions] == ["First."]
    assert rest.versions[0] == published[0].version


async def test_version_shows_what_workers_say(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    good, bad = registry.worker(), registry.worker()
    await good.ready("v1")
    bad.set("v1", FAILED, error_code="LOAD_FAILED")
    await bad.report()
    found = await registry.stub.GetVersion(service_pb2.GetVersionRequest(name="models/m/versions/v1"))
    said = {one.instance_id: one.serving for one in found.readiness}
    assert said[good.instance_id] == good.serving["v1", LIVE]
    assert said[good.instance_id].state == READY
    assert said[bad.instance_id].error_code == "LOAD_FAILED"


async def test_events_are_a_chain(registry: Registry) -> None:
    rollout = await registry.running()
    await registry.promote(rollout, outcome=resources_pb2.Outcome(reason="Safe.", code="SAFE", trace_ids=["ab" * 16]))
    events = await registry.events()
    assert [event.type for event in events] == [
        "MODEL_CREATED",
        "VERSION_PUBLISHED",
        "VERSION_STABLE",
        "VERSION_PUBLISHED",
        "ROLLOUT_STARTED",
        "ROLLOUT_RUNNING",
        "ROLLOUT_PROMOTED",
    ]
    assert [event.sequence for event in events] == list(range(1, 8))
    assert events[4].rollout == "models/m/rollouts/1"
    revisions = [event.revision for event in events]
    assert revisions == sorted(revisions)
    previous = ""
    for event in events:
        assert event.previous_hash == previous
        assert event_hash(event) == event.hash
        previous = event.hash


async def test_events_and_rollouts_of_all_models(registry: Registry) -> None:
    for name in ("a", "b"):
        await registry.running(name)
    found: list[tuple[str, int]] = []
    token = ""
    while True:
        page = await registry.stub.ListEvents(
            service_pb2.ListEventsRequest(parent="models/-", page_size=5, page_token=token)
        )
        found += [(event.model, event.sequence) for event in page.events]
        token = page.next_page_token
        if not token:
            break
    assert len(found) == len(set(found)) == 12
    assert found[0] == ("b", 6)
    first = await registry.stub.ListRollouts(service_pb2.ListRolloutsRequest(parent="models/-", page_size=1))
    assert [one.name for one in first.rollouts] == ["models/b/rollouts/1"]
    second = await registry.stub.ListRollouts(
        service_pb2.ListRolloutsRequest(parent="models/-", page_size=1, page_token=first.next_page_token)
    )
    assert [one.name for one in second.rollouts] == ["models/a/rollouts/1"]


async def test_lists_can_be_narrowed(registry: Registry) -> None:
    rollout = await registry.running()
    await registry.rollback(rollout)
    await registry.publish()
    live = await registry.stub.ListRollouts(service_pb2.ListRolloutsRequest(parent="models/m", live_only=True))
    assert [one.name for one in live.rollouts] == ["models/m/rollouts/2"]
    every = await registry.stub.ListRollouts(service_pb2.ListRolloutsRequest(parent="models/m"))
    assert [one.name for one in every.rollouts] == ["models/m/rollouts/2", "models/m/rollouts/1"]
    mine = await registry.stub.ListEvents(
        service_pb2.ListEventsRequest(parent="models/m", rollout="models/m/rollouts/1")
    )
    assert [event.type for event in mine.events] == ["ROLLOUT_ROLLED_BACK", "ROLLOUT_RUNNING", "ROLLOUT_STARTED"]
    foreign = service_pb2.ListEventsRequest(parent="models/x", rollout="models/m/rollouts/1")
    assert (await refused(registry.stub.ListEvents(foreign))).field == "rollout"


async def test_page_token_of_another_list(registry: Registry) -> None:
    for name in ("a", "b"):
        await registry.create(name)
    page = await registry.stub.ListModels(service_pb2.ListModelsRequest(page_size=1))
    foreign = service_pb2.ListRolloutsRequest(parent="models/-", page_token=page.next_page_token)
    said = await refused(registry.stub.ListRollouts(foreign))
    assert (said.code, said.reason, said.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", "page_token")
