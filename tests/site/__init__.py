"""Caching servers of a site: the shipped configurations, run for real, before a counted origin."""
