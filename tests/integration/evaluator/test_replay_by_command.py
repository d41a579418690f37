"""`crossfade replay` of a rollout that has ended: by its own policy, and by another one."""

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from crossfade.cli import text
from crossfade.cli.app import build
from crossfade.common.v1 import analysis_pb2
from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.policy_file import parse_policy
from crossfade.policy_words import write_policy
from crossfade.registry.v1 import resources_pb2
from evaluator.app import App
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import MODEL, Scene, quick_terms
from tests.integration.evaluator.test_questions import NAME, ended, replay
from tests.support.wait import until_async

LAX = (GateDraft(MetricKind.ERRORS, required=True, harm=GateMargin(1.0, 0.4), safe=GateMargin(1.0, 0.5)),)
"""By which a version passes that fails one request in ten."""
STRICT = "gates: [{metric: errors, required: true}]\n"


async def replay_by_command(scene: Scene, app: App, *options: str) -> list[str]:
    """The lines that the command prints."""
    addresses = ("--registry", scene.registry, "--evaluator", app.address)
    arguments = [*addresses, "--user", "ana", "replay", MODEL, *options]
    # In a thread, and not in a process of its own for each: to start one takes seconds.
    said = await asyncio.to_thread(lambda: CliRunner().invoke(build(), arguments))
    assert said.exit_code == 0, said.output
    return said.stdout.splitlines()


async def promoted(scene: Scene, app: App, strict: evaluator_pb2.ReplayRequest) -> resources_pb2.Rollout:
    """The rollout, promoted by a person's word after looks by which the strict policy had rolled it back."""

    async def has_shown() -> bool:
        looks = await scene.looks()
        if not looks or looks[-1].summary.verdict != analysis_pb2.VERDICT_PASS:
            return False
        found = await replay(app, strict)
        assert not found.violations
        return bool(found.replayed)

    await scene.publish()
    await until_async(has_shown, seconds=60)
    await scene.approve()
    rollout = await scene.until(ended)
    assert rollout.state == resources_pb2.ROLLOUT_STATE_PROMOTED, rollout.outcome.reason
    return rollout


def moment(name: str, rollout: resources_pb2.Rollout, look: analysis_pb2.Analysis, decision: str) -> str:
    """How a decision at a look is told."""
    after = text.unix(look.summary.circumstances.time) - text.unix(rollout.start_time)
    return f"  {name}  look {look.sequence}, {text.span(after)} after its start: {decision}."


async def test_a_rollout_is_replayed_by_its_own_policy_and_by_another(scene: MakeScene, tmp_path: Path) -> None:
    made = await scene(quick_terms(5000, period=600.0, gates=LAX))
    made.approved, made.fleet.test = True, Behaviour(errors=0.1)
    app = await made.evaluate()
    (tmp_path / "strict.yaml").write_text(STRICT)
    strict = evaluator_pb2.ReplayRequest(name=NAME, policy=parse_policy(STRICT).policy)
    rollout = await promoted(made, app, strict)
    looks = {look.sequence: look for look in await made.looks()}
    last = looks[rollout.outcome.analysis_sequence]
    recorded = moment("recorded", rollout, last, f"PROMOTE. {rollout.outcome.reason.rstrip('.')}")
    versions = "Rollout 1: v2 against v1"

    own = tmp_path / "own.yaml"
    own.write_text(write_policy(rollout.policy, rollout.plan))
    for options, by in (((), "its own policy"), (("--policy", str(own)), str(own))):
        assert await replay_by_command(made, app, *options) == [
            f"{versions}, {last.sequence} looks replayed by {by}.",
            recorded,
            recorded.replace("recorded", "replayed", 1),
            "Every look concludes what was recorded.",
        ]

    told = await replay_by_command(made, app, "--policy", str(tmp_path / "strict.yaml"))
    found = await replay(app, strict)
    (would_be,) = found.replayed
    assert would_be.sequence < last.sequence
    assert told == [
        f"{versions}, {would_be.sequence} looks replayed by {tmp_path / 'strict.yaml'}.",
        recorded,
        moment("replayed", rollout, looks[would_be.sequence], f"ROLL BACK for errors. {would_be.reason.rstrip('.')}"),
        f"The first look that concludes otherwise is look {found.parts_at}.",
    ]
    assert would_be.reason.startswith("v2 failed ")
