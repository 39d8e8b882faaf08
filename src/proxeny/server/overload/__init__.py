"""The overload manager: main asks resource monitors how full they are and tells the workers what follows."""
