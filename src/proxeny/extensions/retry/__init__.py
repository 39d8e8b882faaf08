"""What a retry policy may be extended by: predicates on hosts, and priorities."""
