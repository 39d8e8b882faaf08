"""What looks at updates of dynamic configuration before they are applied (``config_validators`` of a config source)."""
