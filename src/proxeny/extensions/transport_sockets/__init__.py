"""Transport sockets: what stands between a connection and the network."""
