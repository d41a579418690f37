"""Commands that a message tells to write next. Pure."""

from collections.abc import Iterable

from crossfade.names import lane_title


def lane_list(segments: Iterable[str]) -> str:
    """Lanes in a sentence, in their order: `the default lane and those of the segments eu, us`."""
    known = list(segments)
    named = [one for one in known if one]
    if len(named) < 2:
        return " and ".join(map(lane_title, known))
    those = f"of the segments {', '.join(named)}"
    return f"{lane_title('')} and those {those}" if "" in known else f"the lanes {those}"


def every_request(segment: str, segments: Iterable[str]) -> str:
    """Whose requests are a lane's: `every request`, and of which lane where the model has several.

    Args:
        segment: the lane's; empty: the default one.
        segments: of all lanes that the model has.
    """
    alone = not segment and not any(segments)
    return "every request" if alone else f"every request of {lane_title(segment)}"


def lane_command(words: str, segment: str) -> str:
    """A command on one lane, so that it does not go to the default segment's by mistake.

    Args:
        words: the command and its arguments: `resume churn`.
        segment: the lane's; empty: the default one.
    """
    return f"crossfade {words} --segment {segment}" if segment else f"crossfade {words}"
