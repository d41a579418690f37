"""Messages and snapshots to the domain and back, without loss and always alike."""

from crossfade.common.v1 import analysis_pb2, model_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2
from evaluator.rpc import proto_counts, proto_summary, proto_views
from evaluator.verdict.decision import Phase
from evaluator.verdict.readiness import Served, Serving
from evaluator.verdict.reports import Verdict
from evaluator.window.counts import InstanceCounts, Series
from evaluator.window.snapshots import series_of
from services.common.policy import messages as policy_messages
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import PlanDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Meaning, Need, PeriodEnd
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore
from tests.fakes.rollouts import demo_terms, trial

LIVE, CONTROL = model_pb2.TRAFFIC_LIVE, model_pb2.TRAFFIC_CONTROL
COUNTS = (
    InstanceCounts(
        "a",
        1_700_000_000_123_456,
        (
            Series("crossfade.attempt.duration", (("epoch", "2"), ("version", "v2")), (0, 3, 1), 0.1 + 0.2),
            Series("crossfade.lane.input.count", (("feature", "x"),), (4, 2**52), labels=("0", "9")),
        ),
    ),
    InstanceCounts("b", 0),
)


def test_counts_survive_the_way_through_the_registry_bit_for_bit() -> None:
    raw = proto_counts.to_proto(COUNTS).SerializeToString()
    assert proto_counts.from_proto(analysis_pb2.Counts.FromString(raw)) == COUNTS


def test_where_many_processes_are_read_each_name_is_written_once() -> None:
    features = tuple(
        Series(
            "crossfade.lane.input.count", (("feature", f"f{number:02}"), ("version", "v2")), (1, 2), labels=("0", "1")
        )
        for number in range(64)
    )
    fleet = tuple(InstanceCounts(f"worker-{number:03}", 1_700_000_000_000_000, features) for number in range(100))
    plain, keyed = (proto_counts.to_proto(fleet, large) for large in (10**9, 1))
    assert not plain.keys
    assert len(keyed.keys) == 64
    assert keyed.ByteSize() < plain.ByteSize() / 5
    for message in (plain, keyed):
        assert proto_counts.from_proto(analysis_pb2.Counts.FromString(message.SerializeToString())) == fleet
    # Where it is not large it is as releases before write it.
    assert proto_counts.to_proto(COUNTS) == proto_counts.to_proto(COUNTS, 10**9)
    assert proto_counts.to_proto(fleet + fleet * 200).keys


def test_counts_are_sorted_whatever_order_they_come_in() -> None:
    message = proto_counts.to_proto(COUNTS)
    turned = analysis_pb2.Counts(instances=list(message.instances)[::-1])
    series = list(turned.instances[1].series)[::-1]
    del turned.instances[1].series[:]
    turned.instances[1].series.extend(series)
    assert proto_counts.from_proto(turned) == COUNTS


def test_a_policy_with_its_defaults_is_the_same_when_it_is_asked_for() -> None:
    policy, _ = complete_policy(PolicyDraft(look_interval=2.0, period_end=PeriodEnd.HOLD), Meaning("classification"))
    message = policy_pb2.Policy.FromString(policy_messages.policy_message(policy).SerializeToString())
    again, violations = complete_policy(policy_messages.policy_draft(message), Meaning("classification"))
    assert not violations
    assert [gate.need for gate in again.gates] == [Need.ALWAYS, Need.ALWAYS, Need.ALWAYS, Need.NEVER]
    assert [(gate.metric, gate.harm, gate.safe) for gate in again.gates] == [
        (gate.metric, gate.harm, gate.safe) for gate in policy.gates
    ]
    assert (again.period_end, again.look_interval, again.labels) == (PeriodEnd.HOLD, 2.0, policy.labels)
    plan, _ = complete_plan(PlanDraft())
    assert complete_plan(policy_messages.plan_draft(policy_messages.plan_message(plan))) == (plan, ())


def test_what_a_message_leaves_out_is_the_default_and_what_it_says_is_not() -> None:
    assert policy_messages.policy_draft(policy_pb2.Policy()) == PolicyDraft()
    assert policy_messages.plan_draft(policy_pb2.TrafficPlan()) == PlanDraft()
    message = policy_pb2.Policy(gates=[policy_pb2.Gate(metric=policy_pb2.METRIC_RUNTIME)])
    message.settling.seconds = 0
    message.settling.SetInParent()
    draft = policy_messages.policy_draft(message)
    assert draft.settling == 0.0
    assert draft.gates[0].metric is MetricKind.RUNTIME
    assert (draft.gates[0].harm, draft.gates[0].safe) == (None, None)


def test_an_unknown_metric_is_a_violation_and_no_crash() -> None:
    message = policy_pb2.Policy()
    message.MergeFromString(
        policy_pb2.Policy(gates=[policy_pb2.Gate(name="x")]).SerializeToString() + b"\x0a\x02\x10\x63"
    )
    _, violations = complete_policy(policy_messages.policy_draft(message), Meaning("other"))
    assert "policy.gates[1].metric" in [violation.field for violation in violations]


def test_a_rollout_is_read_with_its_clock() -> None:
    message = resources_pb2.Rollout(
        name="models/digits/rollouts/3",
        version="v2",
        stable_version="v1",
        state=resources_pb2.ROLLOUT_STATE_PAUSED,
        pause_reason=resources_pb2.PAUSE_REASON_INPUT_DRIFT,
        assignment=policy_pb2.ASSIGNMENT_KEY,
        step=1,
        etag="e",
        analysis_sequence=9,
    )
    message.step_start_time.FromMilliseconds(1_000_500)
    message.step_paused.FromMilliseconds(2_000)
    message.pause_time.FromMilliseconds(1_010_500)
    view = proto_views.rollout(message)
    assert (view.model, view.phase, view.sticky, view.sequence) == ("digits", Phase.PAUSED_BY_DRIFT, True, 9)
    assert view.elapsed(1015.5) == 8.0
    message.state = resources_pb2.ROLLOUT_STATE_PROMOTED
    assert proto_views.rollout(message).phase is None


def test_what_a_newer_release_says_of_a_rollout_is_known_to_be_unknown_and_no_default() -> None:
    # Gates of the metrics 1 and 99, the period's end 98, and a step in the mode 97, as that release writes them.
    newer = b"\x0a\x02\x10\x01\x0a\x02\x10\x63\x30\x62", b"\x0a\x05\x08\x61\x10\xf4\x03"
    message = resources_pb2.Rollout(
        name="models/digits/rollouts/3",
        policy=policy_pb2.Policy.FromString(newer[0]),
        plan=policy_pb2.TrafficPlan.FromString(newer[1]),
    )
    assert proto_views.rollout(message).unknown == (
        "policy.gates[1].metric",
        "policy.period_end",
        "plan.steps[0].mode",
    )
    known = resources_pb2.Rollout(
        name="models/digits/rollouts/3",
        policy=policy_pb2.Policy(
            gates=[policy_pb2.Gate(metric=metric) for metric in policy_pb2.Metric.values()[1:]],
            period_end=policy_pb2.PERIOD_END_HOLD,
        ),
        plan=policy_pb2.TrafficPlan(steps=[policy_pb2.Step(mode=policy_pb2.MODE_SHADOW)]),
    )
    assert proto_views.rollout(known).unknown == ()


def test_only_routers_and_workers_are_processes() -> None:
    worker = resources_pb2.Instance(
        instance_id="w",
        kind=resources_pb2.INSTANCE_KIND_WORKER,
        address="h:1",
        serving=[
            resources_pb2.Serving(model="m", version="v2", traffic=LIVE, state=resources_pb2.SERVING_STATE_READY),
            resources_pb2.Serving(
                model="m", version="v1", traffic=CONTROL, state=resources_pb2.SERVING_STATE_FAILED, error_code="CRASHED"
            ),
        ],
    )
    view = proto_views.process(worker)
    assert view is not None
    assert view.served == (
        ("m", Served("v2", False, Serving.READY)),
        ("m", Served("v1", True, Serving.FAILED, "", "CRASHED")),
    )
    assert proto_views.process(resources_pb2.Instance(kind=resources_pb2.INSTANCE_KIND_EVALUATOR)) is None


def test_a_decision_is_recorded_with_every_gate_and_the_inputs() -> None:
    made = trial(0)
    made.run(4)
    message = proto_summary.to_proto(made.decisions[-1])
    assert [gate.gate for gate in message.gates] == ["errors", "runtime", "accuracy"]
    assert message.gates[0].test.n > 0
    assert message.gates[0].low < message.gates[0].difference < message.gates[0].high
    assert message.gates[0].needed_time.seconds > 0
    assert message.drift.stable_rows > message.drift.test_rows > 0
    assert message.reason == made.decisions[-1].reason
    assert analysis_pb2.Verdict.Name(message.verdict) == "VERDICT_CONTINUE"
    assert made.decisions[-1].verdict is Verdict.CONTINUE


def test_only_series_that_concern_the_rollout_are_taken() -> None:
    store = MetricStore()
    terms = demo_terms()
    for model, version, traffic in (
        ("digits", "v2", "live"),
        ("digits", "v1", "control"),
        ("digits", "v1", "live"),
        ("digits", "v1", "failover"),
        ("digits", "v2", "pinned"),
        ("digits", "v0", "live"),
        ("other", "v2", "live"),
    ):
        at = (model, version, traffic)
        store.histogram(catalog.ATTEMPT_DURATION, *at, "", "ok", "2").record(0.01)
        store.histogram(catalog.ATTEMPT_DURATION, *at, "vip", "ok", "2").record(0.01)
        store.histogram(catalog.INFERENCE_DURATION, *at, "1", "fp32").record(0.01)
        store.histogram(catalog.ROUTE_DURATION, *at, "", "ok").record(0.01)
        for profile in ("p1", "p2"):
            store.spread(catalog.INPUT_COUNT, ("0", "1"), *at, "", "pixel_0", profile)
            store.spread(catalog.INPUT_COUNT, ("0", "1"), *at, "vip", "pixel_0", profile)
    taken = [
        (
            one.metric.removeprefix("crossfade."),
            one.values().get("version"),
            one.values().get("traffic"),
            one.values().get("profile"),
        )
        for one in series_of(store.snapshot(), terms)
    ]
    assert taken == [
        ("attempt.duration", "v1", "control", None),
        ("attempt.duration", "v1", "live", None),
        ("attempt.duration", "v2", "live", None),
        ("inference.duration", "v1", "control", None),
        ("inference.duration", "v2", "live", None),
        ("lane.input.count", "v1", "control", "p1"),
        ("lane.input.count", "v1", "live", "p1"),
        ("lane.input.count", "v2", "live", "p2"),
        # Other lanes' requests that make a process busier whose batches are compared.
        ("elsewhere", "v1", None, None),
        ("elsewhere", "v2", None, None),
        # The test arm's inputs by stable's profile.
        ("inputs.same", None, None, None),
    ]  # fmt: skip


def test_labels_are_spread_by_their_actual_class() -> None:
    store = MetricStore()
    at = ("digits", "v2", "live", "", "2.5")
    for predicted, actual, count in (("7", "7", 5), ("7", "3", 2), ("3", "3", 1)):
        correct = "true" if predicted == actual else "false"
        store.counter(catalog.FEEDBACK_COUNT, *at, predicted, actual, correct).add(count)
    found = series_of(store.snapshot(), demo_terms())
    assert [(one.values()["predicted"], one.by_label) for one in found] == [("3", {"3": 1}), ("7", {"3": 2, "7": 5})]
    assert all("correct" not in one.values() for one in found)
