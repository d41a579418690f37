"""A uniform sample of rows in one pass, in bounded memory.

Each row gets a random key, and the rows with the smallest keys are kept: a simple random sample without replacement
(bottom-k sampling; Cohen and Kaplan, 2007). Keys follow the rows' order, so that the chunks' sizes change nothing.
"""

import numpy as np

from crossfade.profiling.tables import Numbers


class RowSample:
    """At most some rows of a table, each as likely as any other.

    Args:
        most: how many are kept; of fewer rows all are kept, in their order.
        columns: numbers in a row.
        seed: of the keys.
    """

    def __init__(self, most: int, columns: int, seed: int) -> None:
        self._most = most
        self._random = np.random.default_rng(seed)
        self._keys: list[Numbers] = []
        self._parts: list[Numbers] = [np.empty((0, columns))]
        self._held = 0
        self._bar = 1.0

    def add(self, rows: Numbers) -> None:
        """Takes in the next rows, [rows, columns]."""
        keys = self._random.random(len(rows))
        low = keys < self._bar
        if not low.all():
            keys, rows = keys[low], rows[low]
        self._keys.append(keys)
        self._parts.append(rows)
        self._held += len(rows)
        # A half more than what is kept may wait, so that the whole is not sorted for every chunk.
        if self._held > self._most + self._most // 2:
            self._shrink()

    def rows(self) -> Numbers:
        """What was kept, [at most `most`, columns], in the order of the table."""
        if self._held > self._most:
            self._shrink()
        return np.concatenate(self._parts)

    def _shrink(self) -> None:
        keys, rows = np.concatenate(self._keys), np.concatenate(self._parts)
        kept = np.sort(np.argpartition(keys, self._most - 1)[: self._most])
        self._keys, self._parts = [keys[kept]], [rows[kept]]
        self._held = self._most
        self._bar = float(self._keys[0].max())
