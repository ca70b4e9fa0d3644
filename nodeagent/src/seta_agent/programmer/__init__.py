"""Makes the kernel hold what is desired: maps, programs, links, devices, routes.

The door is `seta_agent.programmer.node.NodeProgrammer`; `main` starts it, the CNI waits for it, the API reads its
status. Level-based: read what is there, compute what should be, apply the difference; start and update are one path.
"""
