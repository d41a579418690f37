"""The state machine under operations in any order: invariants hold after each, and the events tell the same story."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from registry import views
from registry.domain.lane import Lane, empty_lane
from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.ledger import append
from registry.domain.records import Model, Outcome, PauseReason, Rollout, Undo, VersionInLane
from registry.domain.routes import LaneRoutes, basis_of, held_versions, routes_of, split_of
from registry.domain.serving import Placement, Traffic
from registry.domain.split import BUCKETS
from registry.domain.states import LIVE_STATES, REFUSED_STATES, RolloutState, VersionState
from services.common.errors import FailedPreconditionError
from tests.checker.replay import LaneState, Replay
from tests.unit.registry.lanes import START, etags, placed, spec
from tests.unit.registry.lanes import version as version_of

FINAL = REFUSED_STATES
ENDED = frozenset(RolloutState) - LIVE_STATES - {RolloutState.QUEUED}


class LaneMachine(RuleBasedStateMachine):
    """A lane, stored between operations as the database stores it."""

    published = Bundle("published")

    def __init__(self) -> None:
        super().__init__()
        self.new_etag = etags()
        self.now = START
        self.lane: Lane = empty_lane("m", "", "e0")
        self.states: dict[str, VersionInLane] = {}
        self.rollouts: dict[int, Rollout] = {}
        self.model = Model("m", "", START, 1, 1, 0, "", "")
        self.replay = Replay(())
        self.ready: set[str] = set()
        self.routes: LaneRoutes | None = None
        self.rest: object = None
        self.placed: list[Placement] = []
        self.numbers = count(1)

    def act(self, operation: Callable[[LaneAggregate], object], *, reviving: bool = False) -> bool:
        """One transaction; False: it was refused, and nothing has changed."""
        self.now += 1.0
        # Use cases refuse to touch a lane that is gone, but for those that bring it back.
        if self.lane.removed and not reviving:
            return False
        opened = [self.rollouts[number] for number in (self.lane.live, self.lane.queued) if number]
        before = self.lane
        made = LaneAggregate(self.lane, opened, self.states, now=self.now, actor="local:ana", new_etag=self.new_etag)
        try:
            operation(made)
        except FailedPreconditionError as error:
            assert error.reason.isupper()
            assert error.message
            return False
        settled = basis_of(before, self.rollouts.get(before.live)) == basis_of(made.lane, made.live)
        if settled and not made.changed_states and self.placements() == self.placed:
            return self._store(made)
        live = None
        while live != (made.live.number if made.live else 0):
            live = made.live.number if made.live else 0
            made.observe(self.placements())
        made.resplit(split_of(made.lane, made.live, self.placements()))
        assert made.lane.epoch == before.epoch + (made.lane.split != before.split)
        self.placed = self.placements()
        return self._store(made)

    def _store(self, made: LaneAggregate) -> bool:
        self.lane = made.lane
        for version, state in made.changed_states.items():
            known = self.states.get(version)
            assert known is None or known.state not in FINAL
            self.states[version] = state
        for number, rollout in made.changed_rollouts.items():
            past = self.rollouts.get(number)
            assert past is None or past.state not in ENDED
            self.rollouts[number] = rollout
        self.model, events = append(self.model, tuple(made.events), actor="local:ana", now=self.now, revision=1)
        for event in events:
            self.replay.take(views.event_to_proto(event))
        self.check_settled()
        return True

    def check_settled(self) -> None:
        """Nothing is left to follow from readiness, and the routes rest on nothing but what they are said to."""
        placements = self.placements()
        opened = [self.rollouts[number] for number in (self.lane.live, self.lane.queued) if number]
        made = LaneAggregate(self.lane, opened, self.states, now=self.now, actor="registry", new_etag=self.new_etag)
        made.observe(placements)
        made.resplit(split_of(made.lane, made.live, placements))
        assert made.lane == self.lane
        assert not (made.changed_rollouts or made.changed_states or made.events)
        held = held_versions(made.lane, made.live)
        routes = routes_of(
            made.lane,
            made.live,
            versions={name: version_of(name) for name in held},
            states={name: one.state for name, one in self.states.items()},
            failed=sorted(name for name, one in self.states.items() if one.state is VersionState.FAILED),
            placements=placements,
        )
        rest = (basis_of(made.lane, made.live), placements, dict(self.states))
        if rest == self.rest:
            assert routes == self.routes
        self.routes, self.rest = routes, rest

    def placements(self) -> list[Placement]:
        """One Worker with everything that is ready."""
        return [
            one
            for version in sorted(self.ready)
            for traffic in (Traffic.LIVE, Traffic.CONTROL)
            for one in placed(version, "w", traffic=traffic)
        ]

    @rule(
        target=published,
        with_rollout=st.booleans(),
        approval=st.booleans(),
        shares=st.sampled_from([(500,), (100, 5000)]),
    )
    def publish(self, with_rollout: bool, approval: bool, shares: tuple[int, ...]) -> object:
        """A new version: stable at once as the first, otherwise with a rollout or without."""
        return self._publish(with_rollout, approval, shares)

    def _publish(self, with_rollout: bool, approval: bool, shares: tuple[int, ...]) -> str:
        version = f"v{len(self.states) + 1}"

        def work(made: LaneAggregate) -> None:
            made.reopen()
            made.add(version)
            made._event("VERSION_PUBLISHED", version)
            if not with_rollout:
                return
            if not made.lane.stable_version and made.live is None:
                made.establish(version)
            else:
                made.start(version, replace(spec(*shares), approval_required=approval), next(self.numbers))

        assert self.act(work, reviving=True)
        return version

    @initialize(target=published)
    def begin(self) -> object:
        """v1 is stable, v2 is tested, and both are ready."""
        self.ready |= {"v1", "v2"}
        return multiple(self._publish(True, False, (500, 5000)), self._publish(True, False, (500, 5000)))

    @rule(version=published)
    def start(self, version: str) -> None:
        """A rollout of a version in whatever state it is."""
        self.act(lambda made: made.start(version, spec(500), next(self.numbers)))

    @rule(version=published, is_ready=st.sampled_from([True, True, True, False]))
    def readiness(self, version: str, is_ready: bool) -> None:
        """A Worker has a version ready, or no longer."""
        (self.ready.add if is_ready else self.ready.discard)(version)
        assert self.act(lambda made: None) or self.lane.removed

    @rule(force=st.booleans())
    def advance(self, force: bool) -> None:
        """The next step."""
        self.act(lambda made: made.advance(Outcome("r"), self.placements(), force=force))

    @rule(why=st.sampled_from(PauseReason))
    def pause(self, why: PauseReason) -> None:
        """A pause by a person or for a drift."""
        self.act(lambda made: made.pause("r", why))

    @rule(automatic=st.booleans())
    def resume(self, automatic: bool) -> None:
        """The end of a pause."""
        by_person = self.lane.live and self.rollouts[self.lane.live].pause_reason is PauseReason.PERSON
        done = self.act(lambda made: made.resume("r", automatic=automatic))
        assert not (done and automatic and by_person)

    @rule()
    def approve(self) -> None:
        """A person agrees."""
        if self.lane.live:
            self.act(lambda made: made.approve(made._live(), "r"))

    @rule(force=st.booleans())
    def promote(self, force: bool) -> None:
        """The test version becomes stable."""
        live = self.rollouts.get(self.lane.live)
        done = self.act(lambda made: made.promote(Outcome("r"), self.placements(), force=force))
        if done:
            assert live is not None
            assert live.approval is not None or not live.spec.approval_required
            assert self.lane.stable_version == live.version

    @rule()
    def rollback(self) -> None:
        """The test version fails."""
        live = self.rollouts.get(self.lane.live)
        if self.act(lambda made: made.rollback(Outcome("r"))):
            assert live is not None
            assert self.states[live.version].state is VersionState.FAILED

    @rule(queued=st.booleans(), inconclusive=st.booleans())
    def cancel(self, queued: bool, inconclusive: bool) -> None:
        """The live rollout ends without blame, or the one that waits."""
        number = self.lane.queued if queued else self.lane.live
        if number:
            rollout = self.rollouts[number]
            self.act(lambda made: made.cancel(rollout, Outcome("r"), inconclusive=inconclusive))

    @rule(version=st.one_of(st.just(""), published), bad=st.booleans(), cancel=st.booleans(), force=st.booleans())
    def undo(self, version: str, bad: bool, cancel: bool, force: bool) -> None:
        """An earlier version becomes stable again."""
        old = self.lane.stable_version
        done = self.act(lambda made: made.undo(Undo(version, "r", bad, cancel, force), self.placements()))
        if done and old:
            assert self.states[old].state is (VersionState.FAILED if bad else VersionState.DEPRECATED)

    @rule(version=consumes(published))
    def withdraw(self, version: str) -> None:
        """A version is taken back."""
        self.act(lambda made: made.withdraw(version, "r"))

    @rule(version=published, seconds=st.sampled_from([-1.0, 5.0, 1000.0]))
    def load(self, version: str, seconds: float) -> None:
        """A version is loaded for pins, or let go."""
        self.act(lambda made: made.load(version, self.now + seconds))

    @rule(seconds=st.sampled_from([1.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        """What was loaded for a while is let go."""
        self.now += seconds
        assert self.act(LaneAggregate.expire_loads) or self.lane.removed
        assert all(load.until > self.now - 1.0 for load in self.lane.loaded)

    @precondition(lambda self: len(self.states) % 4 == 0)
    @rule(cancel=st.booleans())
    def remove(self, cancel: bool) -> None:
        """The lane goes, as a segment's does."""
        if not self.lane.removed and self.act(lambda made: made.remove("r", cancel_rollout=cancel)):
            assert not (self.lane.live or self.lane.queued or self.lane.stable_version)

    @rule(version=published)
    def settle_in(self, version: str) -> None:
        """The lane comes back."""
        if self.lane.removed:
            self.act(lambda made: made.settle_in(version, "r"), reviving=True)

    @invariant()
    def one_of_each(self) -> None:
        """One stable version and one live rollout at most, and the lane names them."""
        held = {state: [one.version for one in self.states.values() if one.state is state] for state in VersionState}
        assert held[VersionState.STABLE] == [self.lane.stable_version] * bool(self.lane.stable_version)
        live = [one for one in self.rollouts.values() if one.state in LIVE_STATES]
        assert [one.number for one in live] == [self.lane.live] * bool(self.lane.live)
        assert held[VersionState.TESTING] == [one.version for one in live]
        queued = [one.number for one in self.rollouts.values() if one.state is RolloutState.QUEUED]
        assert queued == [self.lane.queued] * bool(self.lane.queued)

    @invariant()
    def split_adds_up(self) -> None:
        """Every bucket belongs to somebody who may have requests, unless nobody may."""
        split = self.lane.split
        shares = {split.test_version: 0, split.control_version: 0, split.stable_version: 0}
        for version, share in (
            (split.test_version, split.test_bps),
            (split.control_version, split.control_bps),
            (split.stable_version, split.stable_bps),
        ):
            shares[version] += share
        assert sum(shares.values()) in (0, BUCKETS)
        for version, share in shares.items():
            assert not share or self.states[version].state not in REFUSED_STATES
        for load in self.lane.loaded:
            assert self.states[load.version].state not in REFUSED_STATES

    @invariant()
    def events_tell_the_same(self) -> None:
        """The ledger, read again, gives the tables."""
        assert self.replay.found == []
        told = self.replay.lanes.get("", LaneState())
        assert told.versions == {version: str(one.state) for version, one in self.states.items()}
        assert told.rollouts == {number: str(one.state) for number, one in self.rollouts.items()}
        assert told.removed is self.lane.removed


# Twenty seconds of computing, of which a busy machine makes minutes.
TestLane = pytest.mark.timeout(400)(LaneMachine.TestCase)
TestLane.settings = settings(max_examples=300, stateful_step_count=50, derandomize=True)
