"""Messages of one model in the middle of a rollout, as the services would answer them."""

import math

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from crossfade.cli.render.traffic import LaneFigures, VersionFigures
from crossfade.cli.render.views import LaneView, ModelView
from crossfade.common.v1 import analysis_pb2 as analysis
from crossfade.common.v1 import model_pb2 as model
from crossfade.common.v1 import policy_pb2 as policy
from crossfade.registry.v1 import resources_pb2 as resources

NOW = 1_800_000_000.0
POLICY_FILE = """\
plan:
  - share: 5%
    min_duration: 10s
    period: 1h30m
  - share_bps: 5000
look_interval: 2s
gates:
  - metric: errors
    required: true
    harm: {factor: 1.1, offset: 0.05%}
  - metric: METRIC_RUNTIME
    safe: {buckets: 2}
period_end: hold
labels: {min_coverage: 0.5}
"""


def at(seconds_ago: float) -> Timestamp:
    """A time before NOW."""
    moment = NOW - seconds_ago
    return Timestamp(seconds=math.floor(moment), nanos=round(moment % 1 * 1e9))


def gate(
    name: str,
    test: tuple[int, int, float],
    baseline: tuple[int, int, float],
    interval: tuple[float, float, float],
    harm: float,
    safe: float,
    waits_for: str = "",
    verdict: "analysis.Verdict.ValueType" = analysis.VERDICT_CONTINUE,
    required: bool = True,
) -> analysis.GateReport:
    """A gate's report; harm and safe are shares of a bar of 4."""
    return analysis.GateReport(
        gate=name,
        verdict=verdict,
        required=required,
        test=analysis.ArmCounts(n=test[0], x=test[1], estimate=test[2]),
        baseline=analysis.ArmCounts(n=baseline[0], x=baseline[1], estimate=baseline[2]),
        difference=interval[0],
        low=interval[1],
        high=interval[2],
        harm=analysis.Evidence(log_e=4 * harm, bar=4),
        safe=analysis.Evidence(log_e=4 * safe, bar=4),
        waits_for=waits_for,
    )


def live_summary() -> analysis.Summary:
    """A look in the middle: runtime is safe, the others wait."""
    return analysis.Summary(
        verdict=analysis.VERDICT_CONTINUE,
        reason="waits for about 380 more mature labels of v2: 3 min at this traffic",
        gates=[
            gate(
                "errors",
                (5_120, 0, 0.0),
                (97_300, 19, 0.0002),
                (-0.0002, -0.0006, 0.0031),
                0.02,
                0.865,
                "about 900 more attempts of v2: 45 s at this traffic",
            ),
            gate(
                "runtime",
                (4_800, 0, 0.0032),
                (4_790, 0, 0.0031),
                (0.02, -0.03, 0.06),
                0.04,
                1.2,
                verdict=analysis.VERDICT_PASS,
            ),
            gate(
                "accuracy",
                (1_204, 95, 0.079),
                (22_900, 1_878, 0.082),
                (-0.003, -0.021, 0.014),
                0.01,
                0.71,
                "about 380 more mature labels of v2: 3 min at this traffic",
            ),
        ],
        drift=analysis.DriftReport(
            test_rows=1_204, stable_rows=97_300, features=[analysis.FeatureDrift(feature="age", shift=0.031)]
        ),
    )


def rollout(
    state: "resources.RolloutState.ValueType" = resources.ROLLOUT_STATE_RUNNING, number: int = 7
) -> resources.Rollout:
    """v2 against v1 at 5 %, for 4 min 12 s."""
    return resources.Rollout(
        name=f"models/churn/rollouts/{number}",
        version="v2",
        stable_version="v1",
        state=state,
        plan=policy.TrafficPlan(steps=[policy.Step(share_bps=500, period=Duration(seconds=3600))]),
        step_start_time=at(252),
        create_time=at(260),
        start_time=at(252),
        effective_share_bps=500,
        etag="e1",
        note="v2 gets 5 % (step 1 of 1).",
    )


def rolled_back() -> resources.Rollout:
    """v3, rolled back for its accuracy 4 min 10 s after its start."""
    summary = analysis.Summary(
        verdict=analysis.VERDICT_FAIL,
        gates=[
            gate(
                "errors",
                (487, 0, 0.0),
                (9_800, 2, 0.0002),
                (-0.0002, -0.01, 0.01),
                0.0,
                1.0,
                verdict=analysis.VERDICT_PASS,
            ),
            gate(
                "runtime",
                (480, 0, 0.003),
                (470, 0, 0.003),
                (0.0, -0.1, 0.1),
                0.0,
                1.0,
                verdict=analysis.VERDICT_PASS,
            ),
            gate(
                "accuracy",
                (487, 85, 0.175),
                (9_602, 787, 0.082),
                (0.092, 0.047, 0.138),
                1.1,
                0.0,
                verdict=analysis.VERDICT_FAIL,
            ),
        ],
        drift=analysis.DriftReport(
            test_rows=1_204, stable_rows=9_602, features=[analysis.FeatureDrift(feature="age", shift=0.03)]
        ),
    )
    ended = rollout(resources.ROLLOUT_STATE_ROLLED_BACK, 8)
    ended.version = "v3"
    ended.start_time.CopyFrom(at(550))
    ended.end_time.CopyFrom(at(300))
    ended.outcome.CopyFrom(
        resources.Outcome(
            reason="v3 was wrong on 17.5 % of 487 labels and v1 on 8.20 % of 9,602 of the same minutes",
            code="VIOLATION",
            gate="accuracy",
            summary=summary,
            trace_ids=["4bf92f3577b34da6a3ce929d0e0e4736", "a" * 32, "b" * 32, "c" * 32],
            actor="local:evaluator",
        )
    )
    return ended


def lane() -> resources.Lane:
    """v1 stable, v2 tested, v0 from before."""
    return resources.Lane(
        stable_version="v1",
        previous_version="v0",
        rollout="models/churn/rollouts/7",
        epoch=3,
        etag="lane-1",
        versions=[
            resources.LaneVersion(version="v2", state=resources.VERSION_STATE_TESTING, state_time=at(252)),
            resources.LaneVersion(version="v1", state=resources.VERSION_STATE_STABLE, state_time=at(90_000)),
            resources.LaneVersion(version="v0", state=resources.VERSION_STATE_DEPRECATED, state_time=at(90_000)),
        ],
    )


def churn() -> resources.Model:
    """The model."""
    return resources.Model(name="models/churn", lanes=[lane()], create_time=at(100_000), etag="m1")


def worker(*versions: str) -> resources.Instance:
    """A Worker that has these versions ready."""
    return resources.Instance(
        instance_id="0f5a6d1e-0000-4000-8000-000000000001",
        kind=resources.INSTANCE_KIND_WORKER,
        address="127.0.0.1:8600",
        report_time=at(3),
        serving=[
            resources.Serving(
                model="churn",
                version=version,
                traffic=model.TRAFFIC_LIVE,
                address="127.0.0.1:9001",
                state=resources.SERVING_STATE_READY,
            )
            for version in versions
        ],
    )


def live_analysis() -> analysis.Analysis:
    """The look of live_summary."""
    return analysis.Analysis(
        rollout="models/churn/rollouts/7", sequence=42, record_time=at(9), judged=True, summary=live_summary()
    )


def view() -> ModelView:
    """What status shows."""
    figures = LaneFigures(
        412.4,
        {
            "v1": VersionFigures(97_300, 19, 0.0031, 22_900, 21_022),
            "v2": VersionFigures(5_120, 0, 0.0032, 1_204, 1_109),
        },
    )
    changed = resources.Event(sequence=9, model="churn", type="ROLLOUT_RUNNING", time=at(14), actor="local:evaluator")
    return ModelView(
        churn(),
        (LaneView(lane(), rollout(), live_analysis(), None, figures),),
        (worker("v1", "v2"),),
        changed,
        NOW,
    )
