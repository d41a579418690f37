"""Lists and single resources as text. Pure."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Final

from rich.text import Text

from crossfade import event_words
from crossfade.cli import text
from crossfade.cli.render.style import LIVE_STATES, rollout_word, serving_word, trouble, version_word, word
from crossfade.common.v1.model_pb2 import Signature, TensorSpec, Traffic
from crossfade.enum_names import enum_name
from crossfade.registry.v1.resources_pb2 import (
    INSTANCE_KIND_WORKER,
    Event,
    Instance,
    InstanceKind,
    LoadReport,
    Model,
    Rollout,
    Serving,
    Version,
    Webhook,
)
from crossfade.router.v1.router_pb2 import GetRouteResponse

_COUNTED: Final = 1_000
"""So many undelivered events the Registry counts at most, for each webhook."""


def models_table(models: Sequence[Model]) -> Text:
    """One line per lane of every model."""
    if not models:
        return Text("no models yet: crossfade publish MODEL DIR publishes the first version of one")
    rows: list[list[str | Text]] = [_header("model", "segment", "stable", "rollout", "versions", "description")]
    for model in models:
        name = text.last_part(model.name)
        for lane in model.lanes:
            rollout = text.last_part(lane.rollout)
            stable = lane.stable_version or "none yet"
            rows.append([name, lane.segment, stable, rollout, str(len(lane.versions)), model.description])
        if not model.lanes:
            rows.append([name, "", "none yet", "", "0", model.description])
    return text.join(text.columns(rows, right=(3, 4)))


def versions_table(
    model: str, versions: Sequence[Version], zone: tzinfo | None = None, *, chosen: bool = False
) -> Text:
    """Versions, newest first; `chosen`: options have said which."""
    if not versions and chosen:
        return Text(f"{model} has no such version: crossfade versions {model} lists all")
    if not versions:
        return Text(f"{model} has no version yet: crossfade publish {model} DIR publishes the first")
    rows: list[list[str | Text]] = [_header("version", "state", "published", "by", "size", "description")]
    rows += [
        [
            text.last_part(version.name),
            _states(version),
            text.moment(version.create_time, zone),
            text.actor(version.creator),
            text.size(version.artifact.size_bytes),
            version.description,
        ]
        for version in versions
    ]
    return text.join(text.columns(rows, right=(4,)))


def version_details(model: str, version: Version, zone: tzinfo | None = None) -> Text:
    """Everything about one version, and what each Worker says of it."""
    facts: list[list[str | Text]] = [
        ["state", _states(version)],
        ["published", f"{text.moment(version.create_time, zone)} by {text.actor(version.creator)}"],
        ["artifact", version.artifact.uri],
        ["digest", f"{version.artifact.digest} ({text.size(version.artifact.size_bytes)})"],
        *_signature(version.signature),
    ]
    if version.HasField("profile"):
        features = text.plural(len(version.profile.features), "feature")
        facts.append(["profile", f"{version.profile.profile_id}: {features}, {text.count(version.profile.rows)} rows"])
        facts += _profile(version)
    if version.description:
        facts.append(["description", version.description])
    lines = [Text(f"{model} {text.last_part(version.name)}", "bold"), *text.columns(facts, indent=1)]
    if not version.readiness:
        lines.append(Text(" no worker holds it"))
    for one in version.readiness:
        lines.extend(_readiness(one.instance_id, one.serving))
    return text.join(lines)


def rollouts_table(model: str, rollouts: Sequence[Rollout], now: float, *, chosen: bool = False) -> Text:
    """Rollouts, newest first; `chosen`: options have said which."""
    if not rollouts and chosen:
        return Text(f"{model} has had no such rollout: crossfade rollouts {model} lists all")
    if not rollouts:
        return Text(f"{model} has had no rollout: its first version became stable at once")
    rows: list[list[str | Text]] = [_header("rollout", "version", "against", "state", "share", "began", "took", "why")]
    for rollout in rollouts:
        began = f"{text.span(now - text.unix(rollout.start_time))} ago" if rollout.HasField("start_time") else ""
        took = ""
        if began and rollout.HasField("end_time"):
            took = text.span(text.unix(rollout.end_time) - text.unix(rollout.start_time))
        live = rollout.state in LIVE_STATES
        share = text.share(rollout.effective_share_bps) if live else ""
        why = text.gist(rollout.outcome.reason or rollout.note)
        segment = f" ({rollout.segment})" if rollout.segment else ""
        state = word(rollout_word(rollout.state))
        number = text.last_part(rollout.name) + segment
        rows.append([number, rollout.version, rollout.stable_version, state, share, began, took, why])
    return text.join(text.columns(rows, right=(4,)))


def events_table(events: Iterable[Event], zone: tzinfo | None = None) -> Text:
    """Events in the order given."""
    rows: list[list[str | Text]] = []
    for event in events:
        rollout = f"rollout {text.last_part(event.rollout)}" if event.rollout else ""
        about = " ".join(part for part in (event.model, event.version, event.segment and f"({event.segment})") if part)
        kind, why = event_words.kind(event.type), event_words.why(event)
        rows.append([text.moment(event.time, zone), about, rollout, kind, text.actor(event.actor), why])
    return text.join(text.columns(rows)) if rows else Text("no events")


def cut_off(table: Text, found: int, number: int, *, newest_first: bool = False) -> Text:
    """A table of `number` lines with what tells that more were found, which are older, where they would stand."""
    if found <= number:
        return table
    note = Text(f"(older ones are left out: -n {4 * number} shows more)", "dim")
    return text.join([table, note] if newest_first else [note, table])


def webhooks_table(webhooks: Sequence[Webhook], now: float) -> Text:
    """Webhooks, and below each what it does not take."""
    if not webhooks:
        return Text("nobody is told of events: the Registry's CROSSFADE_WEBHOOKS names no file")
    rows: list[list[str | Text]] = [_header("webhook", "posts to", "form", "models", "undelivered")]
    for webhook in webhooks:
        host = webhook.host or "not in the Registry's settings any more"
        models = ", ".join(webhook.models) or "all"
        # Beyond that the Registry does not count.
        more = " or more" if webhook.undelivered == _COUNTED else ""
        rows.append([webhook.name, host, webhook.form, models, f"{text.count(webhook.undelivered)}{more}"])
    lines = text.columns(rows, right=(4,))
    for webhook in webhooks:
        waiting: list[list[str | Text]] = [
            [
                f"{one.event.model} {one.event.sequence}",
                event_words.kind(one.event.type),
                f"tried {text.plural(one.attempts, 'time')}" if one.attempts else "not tried yet",
                # Of those whose time has come one is tried at a time, and of one that is away one in each pause.
                f"again in {text.span(max(0.0, text.unix(one.next_time) - now))} or later"
                if webhook.host and one.attempts
                else "",
                one.error,
            ]
            for one in webhook.deliveries
        ]
        if waiting:
            lines += [Text(f"{webhook.name} has yet to be told", "bold"), *text.columns(waiting, indent=1)]
    return text.join(lines)


def instances_table(instances: Sequence[Instance], now: float) -> Text:
    """The processes whose leases run, and what the Workers serve."""
    if not instances:
        return Text("no process has reported to the Registry")
    rows: list[list[str | Text]] = [_header("kind", "address", "instance", "reported", "serves")]
    for instance in instances:
        kind = enum_name(InstanceKind.DESCRIPTOR, instance.kind).lower()
        reported = f"{text.span(now - text.unix(instance.report_time))} ago" if instance.HasField("report_time") else ""
        serves = [_serving(one) for one in instance.serving]
        nothing = "nothing yet" if instance.kind == INSTANCE_KIND_WORKER else ""
        rows.append([kind, instance.address, instance.instance_id[:8], reported, serves[0] if serves else nothing])
        rows += [["", "", "", "", one] for one in serves[1:]]
    return text.join(text.columns(rows))


_NO_ADDRESS: Final = "no address: nothing has it ready, or your role is not told where versions are served"


def route_text(model: str, route: GetRouteResponse) -> str:
    """Which version a request would get, and why."""
    traffic = enum_name(Traffic.DESCRIPTOR, route.traffic).lower()
    bucket = f"bucket {route.bucket}" if route.bucket >= 0 else "pinned"
    return "\n".join(
        (
            f"{model} {route.version} ({traffic}): {route.reason}",
            f"  {bucket}, epoch {route.epoch}, routes of revision {route.revision}",
            f"  served at {', '.join(route.addresses) or _NO_ADDRESS}",
        )
    )


def _header(*names: str) -> list[str | Text]:
    return [Text(name, "dim") for name in names]


def _states(version: Version) -> Text:
    parts = []
    for one in version.states:
        state = word(version_word(one.state))
        parts.append(state + Text(f" ({one.segment})") if one.segment else state)
    return Text(", ").join(parts)


def _signature(signature: Signature) -> list[list[str | Text]]:
    rows: list[list[str | Text]] = [
        ["task", signature.task],
        ["inputs", ", ".join(map(_tensor, signature.inputs))],
        ["outputs", ", ".join(map(_tensor, signature.outputs))],
    ]
    if signature.classes:
        positive = f" (positive: {signature.positive_class})" if signature.positive_class else ""
        rows.append(["classes", text.listed(signature.classes) + positive])
    if signature.parts:
        rows.append(["parts", f"{', '.join(signature.parts)}, step by step (crossfade predict --stream)"])
    return rows


def _profile(version: Version) -> list[list[str | Text]]:
    """What the profile says besides: the class balance, and what was missing in training."""
    rows: list[list[str | Text]] = []
    shares = list(zip(version.signature.classes, version.profile.class_proportions, strict=False))
    if shares:
        ordered = sorted(shares, key=lambda item: -item[1])
        rows.append(["class balance", text.shares(ordered)])
    missing = [
        (feature.feature, feature.proportions[-1])
        for feature in version.profile.features
        if len(feature.proportions) == len(feature.edges) + 2
    ]
    if missing:
        rows.append(["missing", text.shares(sorted(missing, key=lambda item: -item[1]))])
    return rows


def _tensor(spec: TensorSpec) -> str:
    shape = " × ".join("batch" if size < 0 else str(size) for size in spec.shape)
    return f"{spec.name} {spec.datatype} [{shape}]"


def _serving(serving: Serving) -> Text:
    traffic = enum_name(Traffic.DESCRIPTOR, serving.traffic).lower()
    line = Text(f"{serving.model} {serving.version} {traffic} ") + word(serving_word(serving.state))
    if serving.error:
        line.append(f" {trouble(serving)}")
    return line


def _readiness(instance: str, serving: Serving) -> list[Text]:
    traffic = enum_name(Traffic.DESCRIPTOR, serving.traffic).lower()
    line = Text(f" worker {instance[:8]} ({traffic}) ") + word(serving_word(serving.state))
    if serving.address:
        line.append(f" at {serving.address}")
    lines = [line]
    if serving.error:
        lines.append(Text(f"   {trouble(serving)}"))
    if serving.HasField("load_report"):
        lines += [Text(f"   {one}") for one in load_sentences(serving.load_report)]
    return lines


def load_sentences(report: LoadReport) -> list[str]:
    """What was measured before a version was ready; whether mixed precision helped, in numbers."""
    batches = f" in batches of up to {text.plural(report.max_rows, 'row')}" if report.max_rows else ""
    loaded = f"runs in {report.precision} on {report.device}{batches}; ready after {text.seconds(report.load_seconds)}"
    golden = f"golden outputs: {_difference(report.golden_error)}"
    sentences = [f"{loaded}; {golden}"]
    if report.architecture:
        sentences.append(f"weights for the architecture {report.architecture}")
    batch = "one row" if report.timed_rows <= 1 else f"a batch of {report.timed_rows}"
    if report.mixed_seconds:
        gain = report.full_seconds / report.mixed_seconds
        faster = f"{gain:.2f} × as fast" if gain >= 1 else f"slower, {gain:.2f} × as fast"
        sentences.append(
            f"mixed precision: {batch} in {text.seconds(report.mixed_seconds)}, in full precision "
            f"{text.seconds(report.full_seconds)} ({faster}); golden outputs: {_difference(report.mixed_error)}"
        )
    else:
        tried = "gave no answers" if report.mixed_error < 0 else "was not tried"
        sentences.append(f"{batch} in {text.seconds(report.full_seconds)}; mixed precision {tried}")
    if report.precision_reason:
        sentences.append(f"why {report.precision}: {report.precision_reason}")
    return sentences


def _difference(error: float) -> str:
    return "no agreement" if error < 0 else f"largest difference {error:.2g} of the tolerance"
