"""What the supervisor decides, from snapshots."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.domain import (
    ArtifactRef,
    Context,
    FailureCode,
    Lane,
    LaneContext,
    ServingKey,
    SignatureRef,
    Traffic,
    WantedVersion,
)
from services.worker.supervisor.plan import (
    CRASH_WINDOW_SECONDS,
    Abandon,
    Action,
    Drain,
    Fail,
    Fetch,
    Forget,
    Held,
    Load,
    Phase,
    Snapshot,
    Tell,
    decide,
)

LIVE, CONTROL = Traffic.LIVE, Traffic.CONTROL
KEY = ServingKey("m", "v1", LIVE)


def want(version: str, *kinds: Traffic) -> WantedVersion:
    artifact = ArtifactRef(f"file:///{version}", f"sha256:{version}", 1)
    return WantedVersion(version, artifact, SignatureRef((), (), "other", ()), kinds or (LIVE,))


def lane(*versions: WantedVersion, **options: Any) -> Lane:
    stable = versions[0].version if versions else ""
    made = Lane("m", "", 1, 10.0, versions, frozenset(), stable, "")
    return replace(made, **options)


TOLD = Context((LaneContext("", 1, 10.0),))


def held(phase: Phase, version: str = "v1", **options: Any) -> Held:
    return replace(Held(f"sha256:{version}", phase, TOLD), **options)


def test_starts_what_is_wanted_stable_first() -> None:
    lanes = (lane(want("v1", LIVE, CONTROL), want("v2"), want("v0"), test_version="v2"),)
    snapshot = Snapshot(0.0, lanes, {}, parallel_loads=9)
    order = []
    while (action := decide(snapshot)) is not None:
        assert isinstance(action, Fetch)
        order.append((action.key.version, action.key.traffic))
        taken = Held(action.wanted.artifact.digest, Phase.FETCHING, action.context)
        snapshot = replace(snapshot, held={**snapshot.held, action.key: taken})
    assert order == [("v1", LIVE), ("v1", CONTROL), ("v2", LIVE), ("v0", LIVE)]
    snapshot = replace(snapshot, held={key: replace(one, phase=Phase.FETCHED) for key, one in snapshot.held.items()})
    assert decide(snapshot) == Load(KEY)


def test_loads_no_more_at_once_than_it_may() -> None:
    lanes = (lane(want("v1"), want("v2")),)
    other = {ServingKey("m", "v2", LIVE): held(Phase.FETCHED, "v2")}
    assert decide(Snapshot(0.0, lanes, {KEY: held(Phase.LOADING), **other}, parallel_loads=1)) is None
    for phase in (Phase.READY, Phase.FETCHING, Phase.WAITING):
        # Whatever is still to be fetched keeps nothing else from being loaded.
        action = decide(Snapshot(0.0, lanes, {KEY: held(phase, retry_at=9.0), **other}, parallel_loads=1))
        assert action == Load(ServingKey("m", "v2", LIVE))


def test_what_has_crashed_is_loaded_again_beside_whatever_else_loads() -> None:
    lanes = (lane(want("v1"), want("v2")),)
    other = {ServingKey("m", "v2", LIVE): held(Phase.LOADING, "v2")}
    crashed = held(Phase.FETCHED, crashes=(1.0,))
    assert decide(Snapshot(2.0, lanes, {KEY: crashed, **other}, parallel_loads=1)) == Load(KEY)


def test_a_version_that_two_lanes_want_is_held_once() -> None:
    lanes = (lane(want("v1")), lane(want("v1"), segment="eu", epoch=4))
    action = decide(Snapshot(0.0, lanes, {}))
    assert isinstance(action, Fetch)
    assert action.context.lanes == (LaneContext("", 1, 10.0), LaneContext("eu", 4, 10.0))
    assert decide(Snapshot(0.0, lanes, {KEY: Held("sha256:v1", Phase.READY, action.context)})) is None


def test_lanes_of_another_model_say_nothing_of_a_version_of_the_same_name() -> None:
    others = replace(lane(want("v1"), failed_versions=frozenset({"v1"})), model="n", segment="eu")
    action = decide(Snapshot(0.0, (lane(want("v1")), others), {}))
    assert isinstance(action, Fetch)
    assert (action.key, action.context) == (KEY, TOLD)


def test_a_new_epoch_is_told() -> None:
    action = decide(Snapshot(0.0, (lane(want("v1"), epoch=2),), {KEY: held(Phase.READY)}))
    assert action == Tell(KEY, Context((LaneContext("", 2, 10.0),)))


def test_a_failed_version_is_refused_then_drained() -> None:
    lanes = (lane(want("v0"), failed_versions=frozenset({"v1"})),)
    other = {ServingKey("m", "v0", LIVE): held(Phase.READY, "v0")}
    first = decide(Snapshot(0.0, lanes, {KEY: held(Phase.READY), **other}))
    assert isinstance(first, Tell)
    assert first.context.refused == ("",)
    second = decide(Snapshot(0.0, lanes, {KEY: held(Phase.READY, told=first.context), **other}))
    assert second == Drain(KEY)
    assert decide(Snapshot(0.0, lanes, {KEY: held(Phase.DRAINING, told=first.context), **other})) is None


def test_a_version_failed_in_one_lane_serves_on_in_another() -> None:
    lanes = (lane(want("v1")), lane(want("v0"), segment="eu", failed_versions=frozenset({"v1"})))
    action = decide(Snapshot(0.0, lanes, {KEY: held(Phase.READY)}, parallel_loads=0))
    assert action == Tell(KEY, Context((LaneContext("", 1, 10.0), LaneContext("eu", 1, 10.0)), ("eu",)))


def test_what_is_unwanted_ends() -> None:
    for phase, expected in (
        (Phase.FETCHING, Abandon(KEY)),
        (Phase.WAITING, Forget(KEY)),
        (Phase.FETCHED, Forget(KEY)),
        (Phase.LOADING, Abandon(KEY)),
        (Phase.READY, Drain(KEY)),
        (Phase.DRAINING, None),
        (Phase.CRASHED, Forget(KEY)),
        (Phase.FAILED, Forget(KEY)),
    ):
        assert decide(Snapshot(0.0, (), {KEY: held(phase)})) == expected


def test_a_failed_load_is_tried_again_of_what_ran_or_is_stable() -> None:
    stable, test = lane(want("v1")), lane(want("v0"), want("v1"), test_version="v1")
    other = {ServingKey("m", "v0", LIVE): held(Phase.READY, "v0")}
    new = held(Phase.FAILED, retry_at=30.0)
    assert decide(Snapshot(29.0, (stable,), {KEY: new})) is None
    assert isinstance(decide(Snapshot(30.0, (stable,), {KEY: new})), Fetch)
    # A control that has no room would be tried for ever, and the Evaluator does without it.
    control = {KEY: held(Phase.READY), ServingKey("m", "v1", CONTROL): new}
    assert decide(Snapshot(1e9, (lane(want("v1", LIVE, CONTROL)),), control)) is None
    assert decide(Snapshot(1e9, (test,), {KEY: new, **other})) is None
    ran = replace(new, crashes=(1.0,))
    assert decide(Snapshot(29.0, (test,), {KEY: ran, **other})) is None
    assert isinstance(decide(Snapshot(30.0, (test,), {KEY: ran, **other})), Fetch)


OTHER = {ServingKey("m", "v0", LIVE): held(Phase.READY, "v0")}


def test_the_first_crash_restarts_the_second_fails_and_time_forgives() -> None:
    lanes = (lane(want("v0"), want("v1")),)
    once = held(Phase.CRASHED, crashes=(100.0,))
    assert isinstance(decide(Snapshot(101.0, lanes, {KEY: once, **OTHER})), Fetch)
    twice = held(Phase.CRASHED, crashes=(100.0, 200.0))
    failed = decide(Snapshot(201.0, lanes, {KEY: twice, **OTHER}))
    assert isinstance(failed, Fail)
    assert (failed.code, failed.retry_at) == (FailureCode.CRASHED, 100.0 + CRASH_WINDOW_SECONDS)
    after = held(Phase.FAILED, crashes=(100.0, 200.0), retry_at=failed.retry_at)
    assert decide(Snapshot(failed.retry_at - 1, lanes, {KEY: after, **OTHER})) is None
    assert isinstance(decide(Snapshot(failed.retry_at, lanes, {KEY: after, **OTHER})), Fetch)
    apart = held(Phase.CRASHED, crashes=(100.0, 100.0 + CRASH_WINDOW_SECONDS))
    assert isinstance(decide(Snapshot(101.0 + CRASH_WINDOW_SECONDS, lanes, {KEY: apart, **OTHER})), Fetch)


def test_the_stable_version_is_started_again_however_often_it_crashes_but_later_each_time() -> None:
    lanes = (lane(want("v1", LIVE, CONTROL)),)
    for crashes, pause in ((1, 0.0), (2, 1.0), (3, 2.0), (4, 4.0), (9, 30.0)):
        crashed = held(Phase.CRASHED, crashes=tuple(100.0 + number for number in range(crashes)))
        control = {ServingKey("m", "v1", CONTROL): held(Phase.READY)}
        latest = crashed.crashes[-1]
        if pause:
            assert decide(Snapshot(latest + pause - 0.1, lanes, {KEY: crashed, **control})) is None
        assert isinstance(decide(Snapshot(latest + pause, lanes, {KEY: crashed, **control})), Fetch)
    # Its control process is only for comparison.
    twice = {ServingKey("m", "v1", CONTROL): held(Phase.CRASHED, crashes=(1.0, 2.0))}
    assert isinstance(decide(Snapshot(3.0, lanes, {KEY: held(Phase.READY), **twice})), Fail)


def test_a_failed_load_stays_failed_unless_it_may_be_tried_again() -> None:
    lanes = (lane(want("v1")),)
    assert decide(Snapshot(9e9, lanes, {KEY: held(Phase.FAILED)})) is None
    for phase in (Phase.FAILED, Phase.WAITING):
        assert decide(Snapshot(9.0, lanes, {KEY: held(phase, retry_at=10.0)})) is None
        assert isinstance(decide(Snapshot(10.0, lanes, {KEY: held(phase, retry_at=10.0)})), Fetch)


def test_the_test_version_counts_by_stables_profile_once_that_is_fetched() -> None:
    lanes = (lane(want("v0"), want("v1"), test_version="v1"),)
    stable = {ServingKey("m", "v0", LIVE): held(Phase.READY, "v0")}
    snapshot = Snapshot(0.0, lanes, {KEY: held(Phase.READY), **stable})
    assert decide(snapshot) is None
    action = decide(replace(snapshot, fetched=frozenset({("m", "v0")})))
    assert isinstance(action, Tell)
    assert (action.key, action.context.profiles) == (KEY, ("v0",))


def test_stopping_drains_everything() -> None:
    lanes = (lane(want("v1")),)
    assert decide(Snapshot(0.0, lanes, {KEY: held(Phase.READY)}, stopping=True)) == Drain(KEY)
    assert decide(Snapshot(0.0, lanes, {}, stopping=True)) is None


VERSIONS = ("v1", "v2", "v3")


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    lanes = []
    for segment in draw(st.sets(st.sampled_from(("", "eu")))):
        chosen = draw(st.lists(st.sampled_from(VERSIONS), unique=True))
        kinds = draw(st.sampled_from(((LIVE,), (LIVE, CONTROL))))
        failed = frozenset(draw(st.sets(st.sampled_from(VERSIONS))))
        lanes.append(lane(*(want(name, *kinds) for name in chosen), segment=segment, failed_versions=failed))
    keys = draw(
        st.sets(st.builds(ServingKey, st.just("m"), st.sampled_from(VERSIONS), st.sampled_from((LIVE, CONTROL))))
    )
    found = {
        key: held(
            draw(st.sampled_from(Phase)),
            key.version,
            crashes=tuple(draw(st.lists(st.floats(0, 1000), max_size=3).map(sorted))),
        )
        for key in sorted(keys)
    }
    return Snapshot(1000.0, tuple(lanes), found, parallel_loads=draw(st.integers(1, 3)), stopping=draw(st.booleans()))


def carried_out(snapshot: Snapshot, action: Action) -> Snapshot:
    """The snapshot after an action, as the supervisor's loop leaves it."""
    after = dict(snapshot.held)
    match action:
        case Fetch(key=key, wanted=wanted, context=context):
            before = after.get(key)
            after[key] = Held(wanted.artifact.digest, Phase.FETCHED, context, before.crashes if before else ())
        case Load(key=key):
            after[key] = replace(after[key], phase=Phase.READY)
        case Tell(key=key, context=context):
            after[key] = replace(after[key], told=context)
        case Drain(key=key) | Abandon(key=key):
            after[key] = replace(after[key], phase=Phase.DRAINING)
        case Forget(key=key):
            del after[key]
        case Fail(key=key, retry_at=retry_at):
            after[key] = replace(after[key], phase=Phase.FAILED, retry_at=retry_at)
    return replace(snapshot, held=after)


@settings(max_examples=200)
@given(snapshot=snapshots())
def test_deciding_and_doing_comes_to_rest_with_nothing_unwanted_running(snapshot: Snapshot) -> None:
    for _ in range(100):
        action = decide(snapshot)
        if action is None:
            break
        snapshot = carried_out(snapshot, action)
    assert decide(snapshot) is None
    wanted = {
        (version.version, kind)
        for one in snapshot.lanes
        for version in one.wanted
        for kind in version.traffic
        if version.version not in one.failed_versions and not snapshot.stopping
    }
    for key, one in snapshot.held.items():
        if one.phase in (Phase.READY, Phase.LOADING, Phase.FAILED):
            assert (key.version, key.traffic) in wanted
        stable = any(key.version == one_lane.stable_version for one_lane in snapshot.lanes)
        assert one.phase is not Phase.CRASHED or (stable and key.traffic is LIVE)
