"""What is said of the Registry's RPCs in more than one place."""

SAME_AGAIN = frozenset({"DropDeliveries", "RetryWebhook"})
"""They do the same however often they are asked for, and have no request's id."""
