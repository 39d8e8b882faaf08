"""Active health checking, in main: what is checked, how a host's state follows, what is logged."""
