"""The Worker: runs model versions, batched and in mixed precision."""
