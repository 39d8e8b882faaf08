"""``proxeny intercept``: the rules that lead a service's traffic through its sidecar.

``config`` says what is to be captured, ``rules`` turns that into rules as data, ``iptables`` and ``nftables`` render
them, ``installer`` compares with what is there and applies the difference, ``command`` is the command line.
"""
