/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Masquerade: cilium_snat_v4_external, two entries per connection. The one under the
 * pod's tuple (OUT) says what the packet becomes, the one under the answer's tuple
 * (IN) says whose it is; making the second with NOEXIST is what reserves the port.
 */
#ifndef SETA_NAT_H
#define SETA_NAT_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_NAT_H

struct nat4_entry {
	__u64 created;		/* ns, CLOCK_MONOTONIC */
	__be32 to_addr;		/* OUT: the node; IN: the pod */
	__be16 to_port;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 524288);
	__type(key, struct ct4_tuple);
	__type(value, struct nat4_entry);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_snat_v4_external SEC(".maps");

#endif
