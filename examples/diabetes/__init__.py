"""A tabular regression: how far diabetes has gone a year later, by ten measurements of a patient."""
