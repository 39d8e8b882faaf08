"""For all tests."""

import proxeny  # noqa: F401 - before any test imports Envoy's messages: it adds fields to them (config.newer_fields)
