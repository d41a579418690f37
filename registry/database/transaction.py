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
from registry.domain.webhooks import Webhook


class SqlTransaction:
    """The repositories over one connection.

    Args:
        connection: of the transaction.
        webhooks: who is told of what it writes.
    """

    def __init__(self, connection: Connection, webhooks: Sequence[Webhook]) -> None:
        self.catalog = SqlCatalog(connection)
        self.lanes = SqlLanes(connection)
        self.fleet = SqlFleet(connection)
        self.looks = SqlLooks(connection)
        self.monitors = SqlMonitors(connection)
        self.ledger = SqlLedger(connection)
        self.history = SqlHistory(connection)
        self.outbox = SqlOutbox(connection, webhooks)
        self.routes = SqlRouteLog(connection)
        self.requests = SqlRequests(connection)
