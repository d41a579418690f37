"""Artifacts: fetched, checked, kept, and vetted before torch reads them."""
