"""What runs a network in a process of its own: a module a backend, each with `open_runner(load) -> Runner`."""
