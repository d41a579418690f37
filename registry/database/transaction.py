"""One transaction's view of the tables."""

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from registry.database.catalog import SqlCatalog
from registry.database.fleet import SqlFleet
from registry.database.history import SqlHistory
from registry.database.lanes import SqlLanes
from registry.database.ledger import SqlLedger
from registry.database.looks import SqlLooks
from registry.database.monitors import SqlMonitors
from registry.database.outbox import SqlOutbox
from registry.database.requests import SqlRequests
from registry.database.routes import SqlRouteLog
from registry.database.session import Session
from registry.domain.webhooks import Webhook


class SqlTransaction:
    """The repositories over one connection.

    Args:
        connection: of the transaction.
        webhooks: who is told of what it writes.
    """

    def __init__(self, connection: Connection, webhooks: Sequence[Webhook]) -> None:
        self._session = session = Session(connection)
        self.catalog = SqlCatalog(session)
        self.lanes = SqlLanes(session)
        self.fleet = SqlFleet(session)
        self.looks = SqlLooks(session)
        self.monitors = SqlMonitors(session)
        self.ledger = SqlLedger(session)
        self.history = SqlHistory(session)
        self.outbox = SqlOutbox(session, webhooks)
        self.routes = SqlRouteLog(session)
        self.requests = SqlRequests(session)

    def flush(self) -> None:
        """Sends what was written.

        Raises:
            Stale: a compare-and-set found another value.
            DoneBefore: an answer is stored under the key of the one that is put.
        """
        self._session.flush()
