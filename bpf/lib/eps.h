/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_lxc: the endpoints of this node by address, and the node's own addresses.
 * The agent writes it last when a pod is added: no entry, no connectivity.
 */
#ifndef SETA_EPS_H
#define SETA_EPS_H

#include "common.h"

enum endpoint_flag {
	ENDPOINT_HOST = 0x1,		/* the node's own address: to the stack */
	ENDPOINT_INGRESS_OPEN = 0x10,	/* no policy in this direction: lookup skipped. */
	ENDPOINT_EGRESS_OPEN = 0x20,	/* Absent means enforced, so zero fails closed. */
	ENDPOINT_AUDIT = 0x40,		/* policy is reported, not enforced */
	ENDPOINT_PACKET_LB = 0x80,	/* its sockets are left alone: services packet by packet */
};

struct endpoint_key {
	union ip16 ip;
	__u8 family;
	__u8 key;
	__u16 cluster_id;
};

struct endpoint_info {
	__u32 ifindex;			/* host end of the veth */
	__u16 unused;
	__u16 lxc_id;			/* endpoint id: index into cilium_policy_maps. The
					 * node's own: 0 where no policy is for the node */
	__u32 flags;			/* enum endpoint_flag */
	__u32 pad;
	__u64 mac;			/* of the pod's eth0, first six bytes in memory */
	__u64 node_mac;			/* of the host end */
	__u32 sec_id;
	__u32 parent_ifindex;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65535);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint_info);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lxc SEC(".maps");

INLINE struct endpoint_info *endpoint_find(const union ip16 *ip, __u8 family)
{
	struct endpoint_key key = { .ip = *ip, .family = family };

	return bpf_map_lookup_elem(&cilium_lxc, &key);
}

#define HOST_ENDPOINT_ID 65535	/* the node itself */

INLINE bool endpoint_is_pod(const struct endpoint_info *ep)
{
	return ep && !(ep->flags & ENDPOINT_HOST);
}

#endif
