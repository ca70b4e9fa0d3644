/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_ipcache_v2: any address of the cluster to its identity and, for what lives
 * on another node, that node. A miss is the world. Written by the agent from slices,
 * nodes and CIDR rules; longest prefix wins.
 */
#ifndef SETA_IPCACHE_H
#define SETA_IPCACHE_H

#include "common.h"

struct ipcache_key {
	__u32 prefixlen;		/* counts the 32 bits before the address too */
	__u16 cluster_id;
	__u8 pad;
	__u8 family;
	union ip16 ip;
};

#define IPCACHE_STATIC_BITS 32

struct remote_endpoint_info {
	__u32 sec_identity;
	union ip16 tunnel_endpoint;	/* address of the node; zero if local or no pod */
	__u16 pad;
	__u8 key;
	__u8 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 512000);
	__type(key, struct ipcache_key);
	__type(value, struct remote_endpoint_info);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_ipcache_v2 SEC(".maps");

INLINE struct remote_endpoint_info *ipcache_find(const union ip16 *ip, __u8 family)
{
	struct ipcache_key key = {
		.prefixlen = IPCACHE_STATIC_BITS + (family == FAMILY_V6 ? 128 : 32),
		.family = family,
		.ip = *ip,
	};

	return bpf_map_lookup_elem(&cilium_ipcache_v2, &key);
}

INLINE __u32 ipcache_identity(const struct remote_endpoint_info *info)
{
	return info && info->sec_identity ? info->sec_identity : IDENTITY_WORLD;
}

#endif
