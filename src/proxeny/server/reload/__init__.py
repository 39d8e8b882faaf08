"""Hot reload of the main configuration: load, check, plan, apply, and go back when it fails."""
