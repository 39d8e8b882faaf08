"""Plugins that name the cluster of a route."""
