"""What changes with a process's report, or its end: its own rows, and the lanes of the models that it serves."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final

from registry.domain.serving import Instance, Serving, settle
from registry.ports import Transaction, UnitOfWork
from registry.service.each import for_each
from registry.service.following import follow
from services.common.errors import AbortedError, DeadlineExceededError, PermissionDeniedError, UnavailableError

OfAllOrOne = Callable[[str | None, Transaction], object]
"""Changes what a process serves of one model, or of all of them (None)."""
OF_NO_MODEL: Final = (AbortedError, UnavailableError, DeadlineExceededError, PermissionDeniedError)
"""Errors that say nothing against any one model, so that to try each by itself is no use."""


def take(
    tx: Transaction,
    instance: Instance,
    reported: Iterable[Serving],
    now: float,
    debounce: float,
    only: str | None = None,
) -> None:
    """Takes what is reported, or what is of one model alone."""
    old = [one for one in tx.fleet.placements_on((instance.instance_id,)) if only in (None, one.serving.model)]
    reported = [one for one in reported if only in (None, one.model)]
    before = {one.serving.key: one for one in old}
    placements, recheck = settle(instance.instance_id, reported, before, now=now, debounce=debounce)
    if only is not None and instance.recheck is not None:
        recheck = instance.recheck if recheck is None else min(instance.recheck, recheck)
    tx.fleet.put_instance(replace(instance, recheck=recheck))
    kept = {one.serving.key for one in placements}
    gone = [one for one in old if one.serving.key not in kept]
    changed = [one for one in placements if before.get(one.serving.key) != one]
    tx.fleet.remove_placements(gone)
    tx.fleet.put_placements(changed)
    follow(tx, {one.serving.model for one in (*gone, *changed)}, now)


def remove(tx: Transaction, instances: Iterable[Instance], now: float, only: str | None = None) -> bool:
    """Removes processes and what they serve, or what is of one model alone: those that serve others yet stay.

    Returns:
        Whether none stays.
    """
    known = {one.instance_id: one for one in instances}
    served = tx.fleet.placements_on(known)
    gone = [one for one in served if only in (None, one.serving.model)]
    staying = {one.instance_id for one in served if only not in (None, one.serving.model)}
    tx.fleet.remove_instances(known.keys() - staying)
    tx.fleet.remove_placements([one for one in gone if one.instance_id in staying])
    for instance_id in sorted(staying):
        # Should it report once more, that is none that was taken before.
        tx.fleet.put_instance(replace(known[instance_id], digest=""))
    follow(tx, {one.serving.model for one in gone}, now)
    return not staying


def at_once_or_apart(unit_of_work: UnitOfWork, instance_id: str, change: OfAllOrOne, *, deadline: float) -> None:
    """Changes what a process serves in one transaction, or where that cannot be done, of each model by itself.

    A model that cannot be changed, for its ledger or another row of it was damaged, holds up no other's routes.

    Raises:
        Exception: that of the first model of which it could not be done, when it is of all others.
    """
    try:
        unit_of_work.run(partial(change, None), deadline=deadline, exclusive=True)
    except OF_NO_MODEL:
        raise
    except Exception:
        served = unit_of_work.run(lambda tx: tx.fleet.placements_on((instance_id,)), deadline=deadline, read_only=True)
        models = sorted({one.serving.model for one in served})
        if len(models) < 2:
            raise

        def apart(model: str) -> None:
            unit_of_work.run(partial(change, model), deadline=deadline, exclusive=True)

        for_each(models, apart)
