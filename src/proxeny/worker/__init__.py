"""The worker process: the composition root of the data plane."""
