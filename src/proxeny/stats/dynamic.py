"""Statistics whose names are only known at run time: what callers import (the work is in kernel/stats.pyx)."""

from __future__ import annotations

from proxeny.kernel.stats import CodeStats, DynamicLog, DynamicStats

__all__ = ["CodeStats", "DynamicLog", "DynamicStats"]
