"""The DNS cache of dynamic forward proxies (Envoy: ``Extensions::Common::DynamicForwardProxy``).

A cache lives in main: one resolution serves all workers. Each worker has a copy of the answers, so that a hit costs it
a look-up in a dictionary; what it does not know it asks main for, and the request waits meanwhile. When a name was last
used is known to the workers only: before main forgets one it asks them.

- ``config``: DnsCacheConfig compiled; ``names``: how a host and its port are named; ``stats``.
- ``main_cache``: names, their refresh, timeouts, expiry. ``worker_cache``: the copy, and who waits.
- ``caches``: all caches of a process by name; one configuration per name.
"""
