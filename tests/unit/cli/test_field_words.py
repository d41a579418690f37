"""What services say of fields, as people write them."""

import pytest

from crossfade.cli.field_words import in_options


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("harms[0].gate: the policy has no gate 'foo'", "--drop: the policy has no gate 'foo'"),
        ("watch: 300 s is out of range: 1 s to 60 s", "--watch: 300 s is out of range: 1 s to 60 s"),
        ("rollout.plan.steps[1].share_bps is wrong: 100", "--plan, step 2: share is wrong: 100"),
        ("plan.steps[0].period: 0 s is out of range", "--plan, step 1: period: 0 s is out of range"),
        ("rollout.plan.steps has 99 steps", "--plan has 99 steps"),
        ("rollout.policy.gates[0].harm is wrong: 2", "--policy: gates[0].harm is wrong: 2"),
        ("policy.power: 2 is out of range", "--policy: power: 2 is out of range"),
        ("settings.learn is 1s; use 1m to 31d", "--learn is 1s; use 1m to 31d"),
        ("repeat with cancel_rollout", "repeat with --cancel-rollout"),
        ("watch out", "watch out"),
        ("ttl is 30d; use 1s to 7d", "--ttl is 30d; use 1s to 7d"),
        ("start_time is no time of this age", "--since is no time of this age"),
        ("before is no time of this age", "--before is no time of this age"),
        ("version.description has 5000 characters", "--description has 5000 characters"),
        ("version.artifact.uri: 's3:/x' is no address", "--uri: 's3:/x' is no address"),
        (
            "rollout says how a rollout is to be done, and without_rollout that there is none; drop one",
            (
                "--plan, --policy, --approval and their like say how a rollout is to be done, and --without-rollout "
                "that there is none; drop one"
            ),
        ),
        ("wait until more are ready, or repeat with force", "wait until more are ready, or repeat with --force"),
        (
            "its rollout is under way: promote, roll back or cancel that",
            "its rollout is under way: promote, rollback or abort it",
        ),
        ("v3 waits as rollout 4; cancel that, then withdraw it", "v3 waits as rollout 4; abort that, then withdraw it"),
        (
            "rollout 4 (v3) is live; cancel it, or repeat with force",
            "rollout 4 (v3) is live; abort it, or repeat with --force",
        ),
        (
            "rollout 1 (v2) is PROMOTED, so it is not possible to cancel it; it has ended",
            "rollout 1 (v2) is PROMOTED, so it is not possible to abort it; it has ended",
        ),
        (
            "it is not possible to advance it; possible now: resume, roll back, end as inconclusive, cancel",
            "it is not possible to advance it; possible now: resume, rollback, abort",
        ),
    ],
)
def test_fields_are_said_as_options(message: str, said: str) -> None:
    assert in_options(message) == said
