"""Passive health checking (Envoy: ``Upstream::Outlier``): hosts that answer badly are ejected for a time.

Workers count what becomes of requests in shared memory (kernel/outlier.pyx); main decides (``detector``).
"""
