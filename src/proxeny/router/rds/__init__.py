"""Route configurations that are discovered (Envoy: ``source/common/rds``, ``source/common/router/rds_impl.cc``).

Main subscribes (``manager``, ``subscription``), compiles what comes to check it, and sends it on; a worker compiles it
again in slices (``worker_routes``) and exchanges the table of every connection manager that has it (``provider``).
"""
