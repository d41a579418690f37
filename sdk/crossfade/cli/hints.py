"""Commands that a message tells to write next. Pure."""


def lane_command(words: str, segment: str) -> str:
    """A command on one lane, so that it does not go to the default segment's by mistake.

    Args:
        words: the command and its arguments: `resume churn`.
        segment: the lane's; empty: the default one.
    """
    return f"crossfade {words} --segment {segment}" if segment else f"crossfade {words}"
