"""What should be in the kernel: pure functions from tables to map entries, routes and neighbours.

Called by `seta_agent.programmer`, which compares with what is there. No I/O, no state, no clock: the same tables give
the same bytes, so that a restart changes nothing. Layouts come in as numpy dtypes (from the BTF of the objects).
"""
