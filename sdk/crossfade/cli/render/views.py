"""What is shown of a model at one moment."""

from dataclasses import dataclass

from crossfade.cli.render.traffic import LaneFigures
from crossfade.common.v1.analysis_pb2 import Analysis
from crossfade.registry.v1.resources_pb2 import Event, Instance, Lane, Model, Monitor, Rollout


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane at one moment.

    Attributes:
        lane: the lane.
        rollout: its live rollout, or else the one that ended last; None: it has had none.
        analysis: the live rollout's latest look; None: none.
        queued: the rollout that waits behind the live one; None: none.
        figures: what the Routers' counters say; None: no Router could be read.
        monitor: how it is watched without a rollout; None: not known.
        undone: the undo by which its stable version is stable; None: it isn't by one.
    """

    lane: Lane
    rollout: Rollout | None = None
    analysis: Analysis | None = None
    queued: Rollout | None = None
    figures: LaneFigures | None = None
    monitor: Monitor | None = None
    undone: Event | None = None


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model at one moment.

    Attributes:
        model: the model.
        lanes: its lanes, the default segment's first.
        workers: the Workers whose leases run.
        changed: its latest event; None: none.
        now: seconds since 1970.
        warnings: what could not be found out, as sentences.
    """

    model: Model
    lanes: tuple[LaneView, ...]
    workers: tuple[Instance, ...] = ()
    changed: Event | None = None
    now: float = 0.0
    warnings: tuple[str, ...] = ()
