"""Resource monitors of the overload manager."""
