"""Lanes that are watched without a rollout: what is kept of them, and what is told."""

import asyncio

import pytest
from google.protobuf import duration_pb2
from grpc import aio

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, Start, new_id, refusal, refused
from tests.integration.registry.test_segments import delete_segment, set_segment

NAME = "models/m"
ERRORS = resources_pb2.Alert(gate="errors", reason="v1 failed 5 % of 900 attempts lately")
INPUTS = resources_pb2.Alert(gate="inputs", reason="the inputs of v1 drifted")


async def monitor(registry: Registry, *, segment: str = "", with_evidence: bool = False) -> resources_pb2.Monitor:
    request = service_pb2.GetMonitorRequest(model=NAME, segment=segment, with_evidence=with_evidence)
    return await registry.stub.GetMonitor(request)


async def put(registry: Registry, settings: resources_pb2.MonitorSettings, reason: str = "") -> resources_pb2.Monitor:
    request = service_pb2.SetMonitorRequest(model=NAME, settings=settings, request_id=new_id(), reason=reason)
    return await registry.stub.SetMonitor(request)


async def look(
    registry: Registry,
    sequence: int,
    *alerts: resources_pb2.Alert,
    version: str = "v1",
    request_id: str = "",
    segment: str = "",
) -> int:
    counts = analysis_pb2.Counts(instances=[analysis_pb2.InstanceCounts(instance_id="i")])
    made = resources_pb2.Monitor(
        model=NAME,
        segment=segment,
        version=version,
        sequence=sequence,
        summary=analysis_pb2.Summary(reason="nothing stands out"),
        alerts=alerts,
        evidence=b"evidence %d" % sequence,
        cursor=counts,
    )
    request = service_pb2.RecordMonitorRequest(monitor=made, request_id=request_id or new_id())
    return (await registry.stub.RecordMonitor(request)).sequence


async def told(registry: Registry) -> list[tuple[str, str]]:
    """Events of monitors, oldest first."""
    kinds = ("ALERT", "MONITOR")
    return [(event.type, event.reason) for event in await registry.events() if event.type.startswith(kinds)]


@pytest.fixture
async def lane(registry: Registry) -> Registry:
    """A lane with v1 stable."""
    await registry.create()
    await registry.publish()
    await registry.worker().ready("v1")
    return registry


async def test_before_the_first_look_there_are_defaults(lane: Registry) -> None:
    found = await monitor(lane, with_evidence=True)
    assert (found.model, found.version, found.sequence, found.evidence) == (NAME, "", 0, b"")
    assert not found.settings.off
    assert not found.settings.undo
    assert found.settings.learn.seconds == 86_400


async def test_a_look_is_kept_and_its_evidence_is_shown_to_those_who_ask(lane: Registry) -> None:
    assert await look(lane, 1) == 1
    assert await look(lane, 2) == 2
    found = await monitor(lane)
    assert (found.version, found.sequence, found.summary.reason) == ("v1", 2, "nothing stands out")
    assert found.record_time.seconds
    assert (found.evidence, found.HasField("cursor")) == (b"", False)
    whole = await monitor(lane, with_evidence=True)
    assert whole.evidence == b"evidence 2"
    assert whole.cursor.instances[0].instance_id == "i"


async def test_alerts_are_told_once_and_so_is_their_end(lane: Registry) -> None:
    await look(lane, 1)
    await look(lane, 2, ERRORS)
    first = (await monitor(lane)).alerts[0].start_time
    later = resources_pb2.Alert(gate="errors", reason="v1 failed 7 % of 900 attempts lately")
    await look(lane, 3, INPUTS, later)
    found = (await monitor(lane)).alerts
    assert [(alert.gate, alert.reason) for alert in found] == [("errors", later.reason), ("inputs", INPUTS.reason)]
    assert found[0].start_time == first
    await look(lane, 4)
    assert not (await monitor(lane)).alerts
    assert await told(lane) == [
        ("ALERT_RAISED", ERRORS.reason),
        ("ALERT_RAISED", INPUTS.reason),
        ("ALERT_ENDED", f"It has ended: {later.reason}"),
        ("ALERT_ENDED", f"It has ended: {INPUTS.reason}"),
    ]


async def test_of_two_looks_with_one_number_one_is_kept(start: Start) -> None:
    one, other = await start(), await start()
    await one.create()
    await one.publish()
    await one.worker().ready("v1")

    async def record(registry: Registry) -> str:
        try:
            await look(registry, 1, ERRORS)
        except aio.AioRpcError as error:
            return refusal(error).reason
        return "ok"

    found = await asyncio.gather(*(record(registry) for registry in (one, other) * 5))
    assert sorted(found) == ["SEQUENCE_STALE"] * 9 + ["ok"]
    assert [kind for kind, _ in await told(one)] == ["ALERT_RAISED"]
    stale = await refused(look(one, 3))
    assert (stale.code, stale.reason) == ("ABORTED", "SEQUENCE_STALE")


async def test_the_same_request_is_carried_out_once(lane: Registry) -> None:
    again = new_id()
    assert await look(lane, 1, ERRORS, request_id=again) == 1
    assert await look(lane, 1, ERRORS, request_id=again) == 1
    assert (await monitor(lane)).sequence == 1
    assert len(await told(lane)) == 1


async def test_a_look_at_a_version_that_is_not_stable_is_refused(lane: Registry) -> None:
    assert (await refused(look(lane, 1, version="v0"))).reason == "VERSION_STALE"


async def test_another_stable_version_ends_the_alerts_of_the_one_before(registry: Registry) -> None:
    rollout = await registry.running()
    await look(registry, 1, ERRORS)
    await registry.promote(rollout, force=True)
    assert (await refused(look(registry, 2))).reason == "VERSION_STALE"
    await look(registry, 2, INPUTS, version="v2")
    assert await told(registry) == [
        ("ALERT_RAISED", ERRORS.reason),
        ("ALERT_ENDED", f"v2 is stable now: {ERRORS.reason}"),
        ("ALERT_RAISED", INPUTS.reason),
    ]


async def test_a_lane_that_is_not_to_be_watched_is_not(lane: Registry) -> None:
    await look(lane, 1, ERRORS)
    off = resources_pb2.MonitorSettings(off=True)
    found = await put(lane, off, reason="load tests until Friday")
    assert (found.settings.off, len(found.alerts), found.version) == (True, 0, "")
    assert (await refused(look(lane, 2))).reason == "MONITOR_OFF"
    assert (await told(lane))[1:] == [
        ("MONITOR_CHANGED", "load tests until Friday"),
        ("ALERT_ENDED", f"It is not watched any more: {ERRORS.reason}"),
    ]
    await put(lane, resources_pb2.MonitorSettings())
    # One that was under way all the time goes on from what is forgotten.
    assert (await refused(look(lane, 2))).reason == "SEQUENCE_STALE"
    assert await look(lane, 3) == 3


async def test_settings_that_are_there_already_tell_nothing(lane: Registry) -> None:
    await put(lane, resources_pb2.MonitorSettings())
    assert await told(lane) == []
    await put(lane, resources_pb2.MonitorSettings(undo=True, learn=duration_pb2.Duration(seconds=60)))
    assert await told(lane) == [
        ("MONITOR_CHANGED", "The lane is watched, and an alert undoes it once; a version's past is learnt for 60 s.")
    ]


async def test_what_is_not_asked_for_stays(lane: Registry) -> None:
    await put(lane, resources_pb2.MonitorSettings(undo=True))
    learn = resources_pb2.MonitorSettings(learn=duration_pb2.Duration(seconds=60))
    request = service_pb2.SetMonitorRequest(model=NAME, settings=learn, request_id=new_id())
    request.update_mask.paths.append("learn")
    found = (await lane.stub.SetMonitor(request)).settings
    assert (found.undo, found.off, found.learn.seconds) == (True, False, 60)
    request.update_mask.paths.append("policy")
    request.request_id = new_id()
    refusal = await refused(lane.stub.SetMonitor(request))
    assert refusal.reason == "FIELD_INVALID"


async def test_an_undo_sets_the_wish_for_another_one_back(registry: Registry) -> None:
    rollout = await registry.running()
    await put(registry, resources_pb2.MonitorSettings(undo=True))
    await registry.promote(rollout, force=True)
    lane = (await registry.model()).lanes[0]
    undo = service_pb2.UndoLaneRequest(model=NAME, etag=lane.etag, request_id=new_id(), force=True)
    await registry.stub.UndoLane(undo)
    assert (await registry.model()).lanes[0].stable_version == "v1"
    assert not (await monitor(registry)).settings.undo
    changed, held, undone = (await registry.events())[-3:]
    assert [(event.type, event.reason) for event in (changed, undone)] == [
        ("MONITOR_CHANGED", "The lane was undone; no alert undoes it again until that is asked for anew."),
        ("LANE_UNDONE", "No reason was given."),
    ]
    assert (held.type, held.version) == ("VERSION_LOADED", "v2")


@pytest.mark.parametrize(
    ("made", "field"),
    [
        ({"version": "", "sequence": 1}, "monitor.version"),
        ({"version": "v1", "sequence": 0}, "monitor.sequence"),
        ({"version": "v1", "sequence": 1, "alerts": [ERRORS, ERRORS]}, "monitor.alerts[1].gate"),
        ({"version": "v1", "sequence": 1, "alerts": [resources_pb2.Alert(gate="a")]}, "monitor.alerts[0].reason"),
        ({"version": "v1", "sequence": 1, "alerts": [resources_pb2.Alert(gate=str(n), reason="r") for n in range(101)]},
         "monitor.alerts"),
    ],
)  # fmt: skip
async def test_what_is_no_look_is_refused_by_its_field(lane: Registry, made: dict[str, object], field: str) -> None:
    given = resources_pb2.Monitor(model=NAME, **made)  # type: ignore[arg-type]  # fields by name
    found = await refused(lane.stub.RecordMonitor(service_pb2.RecordMonitorRequest(monitor=given, request_id=new_id())))
    assert (found.code, found.field) == ("INVALID_ARGUMENT", field)


@pytest.mark.parametrize("seconds", [0, 91 * 86_400])
async def test_a_past_of_no_length_or_of_months_is_refused(lane: Registry, seconds: int) -> None:
    settings = resources_pb2.MonitorSettings(learn=duration_pb2.Duration(seconds=seconds))
    assert (await refused(put(lane, settings))).field == "settings.learn"


async def test_what_is_not_there_is_not_watched(lane: Registry) -> None:
    assert (await refused(monitor(lane, segment="eu"))).reason == "LANE_NOT_FOUND"
    request = service_pb2.GetMonitorRequest(model="models/none")
    assert (await refused(lane.stub.GetMonitor(request))).reason == "MODEL_NOT_FOUND"


async def test_a_monitor_ends_with_its_segments_lane(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await set_segment(registry)
    settings = service_pb2.SetMonitorRequest(
        model=NAME, segment="eu", settings=resources_pb2.MonitorSettings(undo=True), request_id=new_id()
    )
    await registry.stub.SetMonitor(settings)
    await look(registry, 1, ERRORS, segment="eu")
    await delete_segment(registry)
    assert (await told(registry))[-2:] == [
        ("ALERT_ENDED", f"Its lane was taken away: {ERRORS.reason}"),
        ("MONITOR_CHANGED", "Its lane was taken away; one that comes back is watched as any new one is."),
    ]
    await set_segment(registry)
    found = await monitor(registry, segment="eu")
    assert (found.settings.undo, list(found.alerts)) == (False, [])
