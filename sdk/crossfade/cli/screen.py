"""The console that all text goes through; it alone writes escape sequences."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from crossfade.cli.plain import plain


class PlainConsole(Console):
    """A console that writes no control character of the texts that it is given; their styles stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is written of a renderable."""
        if isinstance(renderable, Text):
            # Before lines are measured: a replacement has a width, a control character has none.
            harmless = renderable.copy()
            harmless.plain = plain(renderable.plain)
            renderable = harmless
        elif isinstance(renderable, str):
            renderable = plain(renderable)
        return super().render(renderable, options)
