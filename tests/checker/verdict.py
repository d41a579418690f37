"""The proof: what clients were told, held against the ledger and the tables."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from crossfade.ledger import LedgerError, verify
from crossfade.names import parse_rollout
from crossfade.registry.v1 import resources_pb2
from tests.checker.journal import Entry, Told, seconds_of
from tests.checker.order import Traces, disorder
from tests.checker.replay import Replay, differences, otherwise
from tests.checker.tables import Tables

Events = Sequence[resources_pb2.Event]

_ALLOWED = {Told.OK: (1, 1), Told.REFUSED: (0, 0), Told.UNKNOWN: (0, 1)}
_UPDATED = "MODEL_UPDATED"


def find(
    models: Mapping[str, resources_pb2.Model],
    events: Mapping[str, Events],
    tables: Tables,
    replays: Mapping[str, Replay],
    journal: Iterable[Entry],
) -> list[str]:
    """Everything that is against the rules; empty: nothing.

    Args:
        models: as they were when all had ended, by id.
        events: each model's whole ledger, oldest first.
        tables: as they were then.
        replays: of the ledgers.
        journal: of all clients.
    """
    journal = list(journal)
    found: list[str] = []
    for name, model in models.items():
        ledger, replay = events[name], replays[name]
        try:
            verify(model, reversed(ledger))
        except LedgerError as error:
            found.append(f"{name}: {error}")
        found += itertools.chain(replay.found, differences(model, replay))
        found += itertools.chain(_rows(name, tables, replay), _revisions(name, ledger))
    traces = _traces(events, tables, journal)
    found += itertools.chain(_once(journal, traces, tables), _descriptions(events, tables, journal))
    found += itertools.chain(_looks(tables), _monitors(events, tables))
    return found + disorder(journal, traces, tables)


def _rows(model: str, tables: Tables, replay: Replay) -> Iterator[str]:
    """What any row says otherwise than the ledger."""
    for segment, lane in replay.lanes.items():
        where, at = f"models/{model}/{segment}", (model, segment)
        yield from otherwise(where, tables.states.get(at, {}), lane.versions)
        yield from otherwise(f"the past of {where}", tables.past.get(at, {}), lane.versions)
        rows = {number: row for (of, number), row in tables.rollouts.items() if (of, row.segment) == at}
        states = {number: row.state for number, row in rows.items()}
        yield from otherwise(f"rollouts of {where}", states, lane.rollouts)
        if (held := tables.loaded.get(at, set())) != lane.loaded:
            yield f"{where} holds {sorted(held)} for pinned calls; by the ledger {sorted(lane.loaded)}"
        if (at in tables.removed) != lane.removed:
            yield f"{where} is removed: {at in tables.removed}; by the ledger {lane.removed}"
        for number, row in rows.items():
            if row.unapproved and lane.rollouts.get(number) == "PROMOTED":
                yield f"rollout {number} of {model} was promoted, and nobody agreed"


def _traces(events: Mapping[str, Events], tables: Tables, journal: Iterable[Entry]) -> Traces:
    """The events of each operation: most say its marker; the others are named by what they are about, or the answer."""
    found: defaultdict[str, list[resources_pb2.Event]] = defaultdict(list)
    begun: set[str] = set()
    published = {entry.marker for entry in journal if entry.kind == "PublishVersion"}
    for event in itertools.chain.from_iterable(events.values()):
        match event.type:
            case "MODEL_CREATED":
                found[event.model].append(event)
            case "VERSION_LOADED" if event.actor != "registry":
                found[f"loaded {event.version}"].append(event)
            case "VERSION_UNLOADED" if event.actor != "registry":
                found[f"let go {event.version}"].append(event)
            case "ROLLOUT_STARTED" | "ROLLOUT_QUEUED" if event.rollout not in begun:
                begun.add(event.rollout)
                row = tables.rollouts.get(parse_rollout(event.rollout))
                # A publication's own event says it as well.
                if row is not None and row.marker not in published:
                    found[row.marker].append(event)
            case "ALERT_ENDED":
                pass
            case _:
                found[event.reason].append(event)
    for entry in journal:
        if entry.event:
            ledger = events.get(entry.model, ())
            found[entry.marker] += [one for one in ledger if (one.sequence, one.type) == (entry.event, _UPDATED)]
    return found


def _once(journal: Sequence[Entry], traces: Traces, tables: Tables) -> Iterator[str]:
    """Acknowledged: exactly once. Refused: never. Unknown: at most once."""
    looks = Counter(marker for of_one in tables.looks.values() for _, marker in of_one)
    begun = Counter(row.marker for row in tables.rollouts.values())
    for entry in journal:
        times = looks[entry.marker] if entry.kind == "RecordAnalysis" else len(traces.get(entry.marker, ()))
        least, most = _ALLOWED[entry.told]
        if not least * entry.times <= times <= most * entry.times:
            yield f"{entry} was {entry.told} and is {times} times in the ledger"
        if entry.kind == "StartRollout" and begun[entry.marker] != times:
            yield f"{entry} is {begun[entry.marker]} times a rollout and {times} times in the ledger"
        if entry.kind == "PublishVersion" and begun[entry.marker] > times:
            yield f"{entry} is {begun[entry.marker]} times a rollout and {times} times in the ledger"
    asked = {entry.marker for entry in journal}
    for what, known in (("look", looks), ("rollout", begun)):
        for marker in known.keys() - asked:
            yield f"nobody asked for the {what} {marker}"


def _descriptions(events: Mapping[str, Events], tables: Tables, journal: Sequence[Entry]) -> Iterator[str]:
    """Changes of descriptions, whose events do not say them: as many as there can be, and the last one counts."""
    updates = [entry for entry in journal if entry.kind == "UpdateModel"]
    for model, ledger in events.items():
        numbers = [event.sequence for event in ledger if event.type == _UPDATED]
        known = {entry.event: entry.marker for entry in updates if entry.model == model and entry.told is Told.OK}
        unsure = {entry.marker for entry in updates if entry.model == model and entry.told is Told.UNKNOWN}
        if not len(known) <= len(numbers) <= len(known) + len(unsure):
            yield f"{model} was updated {len(numbers)} times, {len(known)} acknowledged and {len(unsure)} unknown"
        if numbers:
            possible = {known[numbers[-1]]} if numbers[-1] in known else unsure
            if tables.descriptions[model] not in possible:
                yield f"{model} is described as {tables.descriptions[model]}, and was last as one of {possible}"


def _looks(tables: Tables) -> Iterator[str]:
    """Each number once and none left out."""
    for (model, rollout), last in tables.looked.items():
        numbers = [number for number, _ in tables.looks.get((model, rollout), [])]
        if numbers != list(range(1, last + 1)):
            yield f"rollout {rollout} of {model} has the looks {numbers}; the latest is {last}"


def _monitors(events: Mapping[str, Events], tables: Tables) -> Iterator[str]:
    """A lane is watched as was said last."""
    for model, ledger in events.items():
        said = (event for event in ledger if event.type in ("MONITOR_CHANGED", "SEGMENT_DELETED"))
        # An undo says as well that no alert undoes it again; how long is learnt stays as it was.
        latest = {event.segment: event for event in said if not event.reason.startswith("The lane was undone;")}
        for segment, event in latest.items():
            learning = tables.learning.get((model, segment))
            if event.type == "MONITOR_CHANGED" and learning != seconds_of(event.reason):
                yield f"the monitor of {model}/{segment} learns {learning} s, and {event.reason} was the last to say it"


def _revisions(model: str, ledger: Events) -> Iterator[str]:
    """Revisions never go back within a ledger."""
    for earlier, later in itertools.pairwise(ledger):
        if later.revision < earlier.revision:
            yield f"event {later.sequence} of {model} has revision {later.revision}, and earlier {earlier.revision}"
