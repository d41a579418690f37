"""From a file of training data to what it looks like, and to a model's reference profile.

    from crossfade.profiling import Wishes, open_table, profile_file, summarise
    summary = summarise(open_table(Path("train.csv")), "train.csv", Wishes(label="churned"))

The rows are read in chunks, once. Counts, missing values, extremes and class balance are of all rows; bins and medians
are exact up to 200,000 rows, and above that those of a sample of so many, drawn evenly with a fixed seed.
"""

from crossfade.profiling.opening import open_table
from crossfade.profiling.profile_file import ProfileFile, profile_file, read_profile, write_profile
from crossfade.profiling.selection import Wishes
from crossfade.profiling.summarising import summarise
from crossfade.profiling.summary import Summary
from crossfade.profiling.tables import TableError

__all__ = [
    "ProfileFile",
    "Summary",
    "TableError",
    "Wishes",
    "open_table",
    "profile_file",
    "read_profile",
    "summarise",
    "write_profile",
]
