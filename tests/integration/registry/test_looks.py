"""Recorded looks: each number once, apart from everything else."""

import asyncio

from grpc import aio

from crossfade.common.v1 import analysis_pb2
from crossfade.connection import OPTIONS
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from tests.integration.registry.harness import Registry, Start, new_id, refusal, refused


async def looks(registry: Registry, **wanted: object) -> service_pb2.ListAnalysesResponse:
    request = service_pb2.ListAnalysesRequest(parent="models/m/rollouts/1", **wanted)  # type: ignore[arg-type]  # by name
    return await registry.stub.ListAnalyses(request)


async def test_looks_are_kept_in_order(registry: Registry) -> None:
    rollout = await registry.running()
    for sequence in (1, 2, 3):
        assert await registry.look(rollout, sequence) == sequence
    found = (await looks(registry)).analyses
    assert [one.sequence for one in found] == [1, 2, 3]
    assert [one.window.instances[0].series[0].counts[0] for one in found] == [1, 2, 3]
    # The cursor is kept for the latest look only.
    assert [one.HasField("cursor") for one in found] == [False, False, True]
    assert all(one.record_time.seconds for one in found)
    assert [one.sequence for one in (await looks(registry, after_sequence=1)).analyses] == [2, 3]
    (latest,) = (await looks(registry, latest_only=True)).analyses
    assert latest == found[2]
    assert list((await looks(registry, latest_only=True, after_sequence=2)).analyses) == [latest]
    assert not (await looks(registry, latest_only=True, after_sequence=3)).analyses
    bare = (await looks(registry, summaries_only=True)).analyses
    assert not any(one.HasField("window") or one.HasField("cursor") for one in bare)
    page = await looks(registry, page_size=2)
    assert [one.sequence for one in page.analyses] == [1, 2]
    assert not page.analyses[1].HasField("cursor")
    rest = await looks(registry, page_size=2, page_token=page.next_page_token)
    assert [one.sequence for one in rest.analyses] == [3]
    assert (await registry.rollout(1)).analysis_sequence == 3


async def test_large_looks_come_in_pages_that_a_message_holds(registry: Registry) -> None:
    rollout = await registry.running()
    counts = [2**40] * 400_000
    async with aio.insecure_channel(registry.app.address, options=OPTIONS) as channel:
        stub = service_pb2_grpc.RegistryServiceStub(channel)
        for sequence in range(1, 11):
            analysis = analysis_pb2.Analysis(rollout=rollout.name, sequence=sequence, epoch=1)
            analysis.window.instances.add(instance_id="i").series.add(metric="of.the.users.own", counts=counts)
            await stub.RecordAnalysis(service_pb2.RecordAnalysisRequest(analysis=analysis, request_id=new_id()))
        request, found = service_pb2.ListAnalysesRequest(parent=rollout.name, page_size=10), list[int]()
        while True:
            page = await stub.ListAnalyses(request)
            found += [one.sequence for one in page.analyses]
            request.page_token = page.next_page_token
            if not request.page_token:
                break
    assert found == list(range(1, 11))


async def test_counts_that_nobody_could_read_are_not_recorded(registry: Registry) -> None:
    rollout = await registry.running()
    analysis = analysis_pb2.Analysis(rollout=rollout.name, sequence=1, epoch=1)
    analysis.window.instances.add(instance_id="i").series.add(key=3, counts=[1])
    said = await refused(
        registry.stub.RecordAnalysis(service_pb2.RecordAnalysisRequest(analysis=analysis, request_id=new_id()))
    )
    assert (said.code, said.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert said.field == "analysis.window.instances[0].series[0].key"
    assert await registry.look(rollout, 1) == 1


async def test_no_look_yet(registry: Registry) -> None:
    await registry.running()
    assert not (await looks(registry, latest_only=True)).analyses
    assert (await registry.rollout(1)).analysis_sequence == 0


async def test_two_evaluators_cannot_record_the_same_look(start: Start) -> None:
    one, other = await start(), await start()
    rollout = await one.running()

    async def record(registry: Registry) -> str:
        try:
            await registry.look(rollout, 1)
        except aio.AioRpcError as error:
            assert error.code().name == "ABORTED"
            return refusal(error).reason
        return "recorded"

    results = await asyncio.gather(record(one), record(other))
    assert sorted(results) == ["SEQUENCE_STALE", "recorded"]
    gap = await refused(one.look(rollout, 3))
    assert (gap.code, gap.reason, gap.metadata) == ("ABORTED", "SEQUENCE_STALE", {"analysis_sequence": "1"})


async def test_a_look_touches_neither_etag_nor_routes_nor_events(registry: Registry) -> None:
    rollout = await registry.running()
    events = await registry.events()
    await registry.look(rollout, 1)
    after = await registry.rollout(1)
    assert (after.etag, after.analysis_sequence) == (rollout.etag, 1)
    assert await registry.events() == events


async def test_an_action_rests_on_the_latest_look(registry: Registry) -> None:
    rollout = await registry.running()
    await registry.look(rollout, 1)
    await registry.look(rollout, 2)
    said = await refused(registry.rollback(rollout, analysis_sequence=1))
    assert (said.code, said.reason, said.metadata) == ("ABORTED", "SEQUENCE_STALE", {"analysis_sequence": "2"})
    done = await registry.rollback(rollout, analysis_sequence=2)
    # Its Evaluator gave no code, and no person has asked.
    assert (done.outcome.analysis_sequence, done.outcome.code) == (2, "LOOK")


async def test_an_ended_rollout_takes_no_looks(registry: Registry) -> None:
    rollout = await registry.running()
    queued = (await registry.publish()).rollout
    said = await refused(registry.look(queued, 1))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    await registry.rollback(rollout)
    said = await refused(registry.look(rollout, 1))
    assert (said.code, said.metadata) == ("FAILED_PRECONDITION", {"state": "ROLLED_BACK"})


async def test_looks_never_abort_a_person(start: Start) -> None:
    one, other = await start(), await start()
    rollout = await one.running()
    recorded = turns = 0

    async def record() -> None:
        nonlocal recorded
        while True:
            await other.look(rollout, recorded + 1)
            recorded += 1

    recording = asyncio.create_task(record())
    try:
        async with asyncio.timeout(60):
            while turns < 10 or recorded < 10:
                request = service_pb2.PauseRolloutRequest(name=rollout.name, etag=rollout.etag)
                request.request_id = new_id()
                rollout = await one.stub.PauseRollout(request)
                resume = service_pb2.ResumeRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
                rollout = await one.stub.ResumeRollout(resume)
                turns += 1
    finally:
        recording.cancel()
    assert rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING
