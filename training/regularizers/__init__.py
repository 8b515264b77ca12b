"""Penalties and tricks that are added to the objectives."""
