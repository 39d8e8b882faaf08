"""Runtime: layered key-value configuration, its snapshots and fractional percents."""
