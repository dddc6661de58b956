"""Workflows decide when; the rows they ask decide what. Nothing here does I/O."""
