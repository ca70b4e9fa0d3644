"""The kernel's eBPF, from Python: libbpf through ctypes, bpf(2), BTF layouts and ring buffers.

Called by `seta_agent.programmer` and `seta_agent.monitor`, and by the datapath tests. Knows nothing about what the
maps mean. Capabilities: every call here wants CAP_BPF where `kernel.unprivileged_bpf_disabled` is set (the default of
the distributions); loading programs also CAP_NET_ADMIN (packet programs) and CAP_PERFMON (programs that compare or
keep pointers); attaching to a device or a cgroup CAP_NET_ADMIN. Looking objects up by kernel id would want
CAP_SYS_ADMIN and is not done anywhere.
"""
