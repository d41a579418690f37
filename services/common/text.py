"""Text that others have written, as it can be stored and sent."""


def fitting(text: str, longest: int) -> str:
    """The text, cut where it is longer than `longest` characters, and without what is no character.

    PostgreSQL's text cannot hold NUL, and UTF-8 no half of a surrogate pair (RFC 3629), while a program or an artifact
    may say anything, which must not keep what it says from being reported.
    """
    kept = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def first_line(error: BaseException) -> str:
    """The first line of what an error says: libraries add advice that is for their own callers."""
    return str(error).partition("\n")[0]
