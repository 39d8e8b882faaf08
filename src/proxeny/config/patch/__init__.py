"""Istio EnvoyFilter resources, applied to configuration messages (Istio: ``pilot/pkg/networking/core/envoyfilter``).

``reader`` makes patches of files and ``bootstrap.apply`` patches a whole bootstrap. ``listeners.patch_listener``,
``clusters.patch_cluster`` and ``routes.patch_routes`` do one message each, so a delivered resource can be patched by
the same rules. What matches what is in ``match`` and ``proxy``, what a merge does in ``merge``.
"""
