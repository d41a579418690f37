"""What `forecast` does, and how it says it; and the note of a publication that cannot conclude in time."""

import math
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from crossfade.cli import text
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, UsageError
from crossfade.cli.field_words import in_options
from crossfade.cli.registry_client import checked
from crossfade.cli.render.gate_words import RELATIVE_METRICS, more_is_better
from crossfade.cli.render.gates import estimate_text
from crossfade.cli.render.jsons import to_json
from crossfade.common.v1.policy_pb2 import (
    ASSIGNMENT_KEY,
    METRIC_CLASS_BALANCE,
    METRIC_CUSTOM,
    METRIC_DISAGREEMENT,
    METRIC_ERRORS,
    METRIC_RUNTIME,
    MODE_SHADOW,
)
from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from crossfade.names import model_name
from crossfade.quantities import format_duration, parse_rate, to_duration
from crossfade.registry.v1.service_pb2 import RolloutSpec

_HURRIED: Final = 2.0
"""Seconds for which a publication watches traffic."""
_NOUNS: Final = {
    METRIC_RUNTIME: ("batch", "batches"),
    METRIC_ERRORS: ("request", "requests"),
    METRIC_CLASS_BALANCE: ("row", "rows"),
    METRIC_DISAGREEMENT: ("mirrored row", "mirrored rows"),
    METRIC_CUSTOM: ("count", "counts"),
}
"""What gates count that do not count labels."""


_NO_FORECAST: Final = (
    "Assigned by key, it is judged by cohorts of keys at few looks; how long that takes is not forecast, for it "
    "depends on how many users there are and how unlike they are, and that is counted only while a rollout is "
    "assigned by key. Once it runs, `crossfade status` says which look should show it; a forecast by request (without "
    "--assignment key) says what it takes at least."
)


_NO_CALLS: Final = (
    "No call came while it was watched, so that nothing can be said of when it ends: have the model called meanwhile, "
    "or watch it for longer with --watch."
)
_UNSEEN: Final = "Not forecast, since nothing of it was counted"


def show_forecast(
    session: Session, model: str, segment: str, version: str, spec: RolloutSpec, drops: Sequence[str], watch: float
) -> None:
    """Shows what a rollout needs.

    Args:
        session: the command's run.
        model: the model's id.
        segment: the lane's.
        version: whose classes count; empty: stable's.
        spec: the rollout to come.
        drops: `gate=0.02` each.
        watch: seconds for which traffic is watched.

    Raises:
        UsageError: a drop is none, or the plan or the policy cannot be used.
        CommandError: there is no forecast.
    """
    if spec.assignment == ASSIGNMENT_KEY:
        raise CommandError(_NO_FORECAST)
    request = _request(model, segment, version, spec, watch)
    request.harms.extend(parse_drop(one) for one in drops)
    answer = _ask(session, request)
    if answer.violations:
        if session.options.json:
            session.show(to_json(answer), str)
        raise UsageError("\n".join(in_options(f"{one.field}: {one.description}") for one in answer.violations))
    session.show(to_json(answer), lambda: text.join(forecast_lines(model, answer)))


def plan_notes(session: Session, model: str, segment: str, version: str, spec: RolloutSpec) -> list[str]:
    """What to say of a rollout that was just asked for; nothing: it can conclude in its period, or nothing is known."""
    if spec.assignment == ASSIGNMENT_KEY:
        return [_NO_FORECAST]
    try:
        return plan_sentences(_ask(session, _request(model, segment, version, spec, _HURRIED)))
    except CommandError:
        # A publication is done; that nobody can forecast it is no reason to fail.
        return []


def plan_sentences(answer: evaluator_pb2.ForecastResponse) -> list[str]:
    """What is to be known of a plan at once: that it cannot conclude, what is unwise, and what is not forecast."""
    late = next((step for step in answer.steps if not step.concludes), None)
    said = []
    # Without traffic everything is late.
    if late is not None and answer.attempts_per_second:
        said.append(f"At the traffic seen now it cannot conclude in its period: {advice(late, len(answer.steps))}")
    said += dict.fromkeys(_sentence(one) for step in answer.steps for one in step.warnings)
    unseen = dict.fromkeys(name for step in answer.steps for name in step.left_out)
    return [*said, f"{_UNSEEN}: {', '.join(unseen)}"] if unseen else said


def parse_drop(written: str) -> evaluator_pb2.Harm:
    """A harm from `accuracy=0.02` or `runtime=10%`.

    Raises:
        UsageError: it is none.
    """
    gate, equals, by = written.rpartition("=")
    try:
        if not (equals and gate):
            raise ValueError("write a gate and how much worse: f1=0.02")
        return evaluator_pb2.Harm(gate=gate.strip(), by=parse_rate(by))
    except ValueError as error:
        raise UsageError(f"--drop {written!r}: {error}") from error


def forecast_lines(model: str, answer: evaluator_pb2.ForecastResponse) -> list[Text]:
    """The traffic seen, and each step with its gates."""
    watched = text.span(text.duration_seconds(answer.watched))
    lines = [
        Text(
            f"{model} · {answer.attempts_per_second:,.3g} requests/s, {answer.labels_per_second:,.3g} labels/s of "
            f"{answer.stable}, watched for {watched}"
        )
    ]
    for step in answer.steps:
        period = text.span(text.duration_seconds(step.step.period))
        mode = "shadow " if step.step.mode == MODE_SHADOW else ""
        lines.append(Text(f"{mode}{text.share(step.step.share_bps)} for at most {period}"))
        header = ("gate", answer.stable, "safe, if like it", "rolled back, if worse by")
        rows: list[list[str | Text]] = [[Text(cell, "dim") for cell in header]]
        rows += [_row(gate) for gate in step.gates]
        lines += text.columns(rows, indent=2)
        if step.left_out:
            lines.append(Text(f"  {_UNSEEN}: {', '.join(step.left_out)}"))
        lines += [Text(f"  {_sentence(one)}") for one in step.warnings]
        if step.concludes:
            lines.append(Text(f"  {_ending(step, answer.stable)}"))
        elif not answer.attempts_per_second:
            lines.append(Text(f"  {_NO_CALLS}"))
        else:
            told = advice(step, len(answer.steps))
            lines.append(Text(f"  It cannot conclude in its period at this traffic: {told}"))
    return lines


def _ending(step: evaluator_pb2.StepForecast, stable: str) -> str:
    period = text.duration_seconds(step.step.period)
    if any(gate.primary for gate in step.gates):
        return f"It ends when the version is shown to be better, or after {text.span(period)}."
    needed = [gate.safe for gate in step.gates if gate.required]
    if not needed and step.left_out:
        return f"When it ends is not forecast: that is up to {', '.join(step.left_out)}."
    shown = all(amount.HasField("time") for amount in needed)
    longest = max((text.duration_seconds(amount.time) for amount in needed), default=period) if shown else period
    longest = max(longest, text.duration_seconds(step.step.min_duration))
    about = "about" if not step.left_out else "at least about"
    return f"It ends after {about} {text.span(min(longest, period))}, if the version is like {stable}."


def _sentence(part: str) -> str:
    return f"{part[0].upper()}{part[1:]}."


def advice(step: evaluator_pb2.StepForecast, steps: int = 1) -> str:
    """What would let a step conclude.

    Args:
        step: the step.
        steps: of its plan; --share is for a plan of one.
    """
    blind = [gate.gate for gate in step.gates if gate.required and not gate.primary and _lacks_traffic(gate)]
    if blind:
        return f"nothing that {', '.join(blind)} counts was seen."
    share = text.share(step.larger_share_bps).replace(" ", "") if step.larger_share_bps and steps == 1 else ""
    if not step.HasField("longer_period"):
        also = f" with this share: it needs --share {share}." if share else "; look at the gates' margins."
        return f"no period is long enough{also}"
    longer = format_duration(text.whole_units(text.duration_seconds(step.longer_period)))
    return f"it needs --period {longer}" + (f", or --share {share}." if share else ".")


def _lacks_traffic(gate: evaluator_pb2.GateForecast) -> bool:
    amounts = [getattr(gate, name) for name in ("safe", "enough") if gate.HasField(name)]
    return not any(amount.HasField("time") for amount in amounts) if amounts else math.isnan(gate.stable)


def _row(gate: evaluator_pb2.GateForecast) -> list[str | Text]:
    name = gate.gate if gate.required else f"{gate.gate} (watched)"
    value = "–" if math.isnan(gate.stable) else estimate_text(gate.stable, gate.metric)
    by = _by(gate)
    safe = _amount(gate, gate.safe) if gate.HasField("safe") else "never, or unknown"
    if gate.primary:
        safe = f"better by {by[1:]}: {safe}"
    return [
        Text(name),
        Text(value),
        Text(safe),
        Text(f"{by}: {_amount(gate, gate.harm)}" if gate.HasField("harm") else f"{by}: never, or unknown"),
    ]


def _by(gate: evaluator_pb2.GateForecast) -> str:
    if gate.metric in RELATIVE_METRICS:
        return f"+{100 * gate.by:.3g} %"
    sign = "±" if gate.metric == METRIC_CLASS_BALANCE else text.MINUS if more_is_better(gate.metric) else "+"
    return f"{sign}{100 * gate.by:.3g} pt"


def _amount(gate: evaluator_pb2.GateForecast, amount: evaluator_pb2.Amount) -> str:
    one, many = _NOUNS.get(gate.metric, ("label", "labels"))
    took = f" · {text.span(text.duration_seconds(amount.time))}" if amount.HasField("time") else " · no such traffic"
    return text.plural(amount.n, one, many) + took


def _request(model: str, segment: str, version: str, spec: RolloutSpec, watch: float) -> evaluator_pb2.ForecastRequest:
    return evaluator_pb2.ForecastRequest(
        model=model_name(checked(model, "model")),
        segment=segment,
        version=version,
        policy=spec.policy,
        plan=spec.plan,
        objective=spec.objective,
        watch=to_duration(watch),
    )


def _ask(session: Session, request: evaluator_pb2.ForecastRequest) -> evaluator_pb2.ForecastResponse:
    evaluator = session.connect.evaluator()
    stub = evaluator_pb2_grpc.EvaluatorServiceStub(evaluator.channel)
    return evaluator.call(stub.Forecast, request, timeout=text.duration_seconds(request.watch) + 30.0)
