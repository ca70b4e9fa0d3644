/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* seta_sock_optout: network namespaces whose sockets are left alone, so that a proxy
 * beside the application sees the service's address; their packets are translated one
 * by one instead. Written by the agent from pods' annotations and sidecars.
 */
#ifndef SETA_LB_OPTOUT_H
#define SETA_LB_OPTOUT_H

#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);		/* cookie of the network namespace */
	__type(value, __u8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} seta_sock_optout SEC(".maps");

INLINE bool lb_is_opted_out(__u64 netns_cookie)
{
	return bpf_map_lookup_elem(&seta_sock_optout, &netns_cookie);
}

#endif
