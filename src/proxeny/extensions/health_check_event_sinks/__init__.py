"""Where health check events can go (kind "health_check_event_sink")."""
