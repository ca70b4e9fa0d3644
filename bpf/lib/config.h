/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What differs from node to node. The agent writes it into .rodata before loading,
 * with offsets from the BTF, so the verifier removes the branches not taken.
 * The same struct is in every object; an object that ignores a field costs nothing.
 */
#ifndef SETA_CONFIG_H
#define SETA_CONFIG_H

#include "common.h"

enum trace_level {
	TRACE_NONE = 0,
	TRACE_MEDIUM = 1,	/* new connections, and TCP FIN and RST */
	TRACE_ALL = 2,
};

#define MAGLEV_SIZE 16381

struct node_config {
	union ip16 node_ip;		/* InternalIP: also the source of masqueraded packets
					 * where their device has no other (nat.h) */
	union ip16 node_ip6;
	union ip16 router_ip;		/* the pods' gateway */
	union ip16 router_ip6;
	__u64 node_netns_cookie;	/* tells the node's own sockets from the pods' */
	__u32 native_ifindex;		/* 0: none */
	__u32 overlay_ifindex;		/* 0: none */
	__be32 native_cidr4;		/* destinations in here are never masqueraded */
	__be32 native_mask4;		/* 0 with native_cidr4 0: no such range */
	__u32 ct_tcp_syn;		/* seconds: a connection that has seen SYNs only */
	__u32 ct_tcp;			/* seconds: an established TCP connection */
	__u32 ct_tcp_fin;		/* seconds: closed from both sides, or reset */
	__u32 ct_any;			/* seconds: everything that is not TCP */
	__u16 nat_port_min;
	__u16 nat_port_max;		/* inclusive */
	__u8 tunnel;			/* 1: VXLAN between nodes; 0: native routing */
	__u8 masquerade;
	__u8 trace_level;		/* enum trace_level */
	__u8 host_firewall;		/* 1: policies of the node itself are enforced */
	__be16 tunnel_port;		/* UDP; of the VXLAN between nodes */
	__u16 nodeport_min;
	__u16 nodeport_max;		/* inclusive */
	__u8 bind_protection;		/* 1: the node's programs get no port that a NodePort has */
	__u8 sock_host_only;		/* 1: sockets of pods are left alone */
	__u32 maglev_size;		/* words of a service's table */
	__u32 maglev_seed;		/* of lb_hash(); the same on every node */
	__be32 loopback_ip4;		/* the source of what a pod sends to itself by a service */
	__u8 no_backend_drop;		/* 1: nobody is told that a service has no backend */
	__u8 pad0;
	__u16 nat_wide_min;		/* from here, when those from nat_port_min are used up; 0:
					 * no more. The node's own connections use these, too */
	__u8 pad[4];
};

const volatile struct node_config cfg = {
	.ct_tcp_syn = 60,
	.ct_tcp = 8000,
	.ct_tcp_fin = 10,
	.ct_any = 60,
	.nat_port_min = 61000,
	.nat_port_max = 65535,
	.masquerade = 1,
	.trace_level = TRACE_MEDIUM,
	.tunnel_port = bpf_htons(8472),
	.nodeport_min = 30000,
	.nodeport_max = 32767,
	.bind_protection = 1,
	.maglev_size = MAGLEV_SIZE,
	.loopback_ip4 = bpf_htonl(0xa9fe2a01),	/* 169.254.42.1 */
};

/* No `native range` is mask 0, which would match everything. */
INLINE bool in_native_range(__be32 addr)
{
	return cfg.native_mask4 && (addr & cfg.native_mask4) == cfg.native_cidr4;
}

#endif
