"""The main process: bootstrap, listeners, clusters, admin, and the supervision of the workers."""
