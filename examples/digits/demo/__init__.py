"""The life of a model in about three minutes: six versions, live traffic, and nobody who decides by hand."""
