"""Where the tables are gathered."""

from typing import Final

from sqlalchemy import MetaData

METADATA: Final = MetaData()
# The CHECKs name every state of the contract, those too that no operation leads to yet: a later release that uses them
# has no constraint to change, and this one can go on beside it.
