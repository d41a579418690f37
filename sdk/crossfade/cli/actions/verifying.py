"""`crossfade events verify`."""

from crossfade.cli import text
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError
from crossfade.cli.registry_client import Registry
from crossfade.ledger import LedgerError, verify
from crossfade.registry.v1.resources_pb2 import Model


def verify_events(session: Session, registry: Registry, model: str | None) -> None:
    """Checks the audit log of a model, or of all.

    Raises:
        CommandError: one is not what was written; all are checked first.
    """
    models = [registry.model(model)] if model else list(registry.models())
    counts: dict[str, int] = {}
    broken: list[str] = []
    for head in models:
        name = text.last_part(head.name)
        try:
            counts[name] = _verified(registry, name, head)
        except LedgerError as error:
            broken.append(str(error))
    lines = [f"{name}: {text.plural(count, 'event')}, each as it was written" for name, count in counts.items()]
    session.show({"verified": counts, "broken": broken}, lambda: "\n".join(lines))
    if broken:
        raise CommandError("; ".join(broken))


def _verified(registry: Registry, name: str, head: Model) -> int:
    while True:
        try:
            return verify(head, registry.events(name), lambda: registry.model(name))
        except LedgerError:
            # Its beginning may have been compacted between the two readings.
            before, head = head, registry.model(name)
            if head.compacted_sequence == before.compacted_sequence:
                raise
