"""``proxeny top``: a live view of a proxy through its admin interface, Proxeny's or Envoy's."""
