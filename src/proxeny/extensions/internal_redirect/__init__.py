"""Predicates of internal redirects."""
