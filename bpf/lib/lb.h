/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: frontend and slot to backend id, backend id to address, for both
 * families. The agent writes backends, then slots, then the master (slot 0), and
 * only backends that may be used stand in slots. One value layout serves both
 * families; keys and backends differ by the address.
 */
#ifndef SETA_LB_H
#define SETA_LB_H

#include "common.h"

enum lb_flag {			/* flags | flags2 << 8 */
	LB_EXTERNAL_IP = 0x1,
	LB_NODEPORT = 0x2,
	LB_EXT_LOCAL = 0x4,
	LB_HOSTPORT = 0x8,
	LB_AFFINITY = 0x10,
	LB_LOADBALANCER = 0x20,
	LB_ROUTABLE = 0x40,
	LB_SOURCE_RANGE = 0x80,
	LB_LOCAL_REDIRECT = 0x100,
	LB_NAT46X64 = 0x200,
	LB_L7 = 0x400,
	LB_LOOPBACK = 0x800,
	LB_INT_LOCAL = 0x1000,
	LB_TWO_SCOPES = 0x2000,
	LB_QUARANTINED = 0x4000,
	LB_DSR = 0x8000,
};

/* Never read: keeps the names in the BTF, where the agent finds them. */
const volatile enum lb_flag lb_flag_vocabulary __attribute__((used)) = 0;

struct lb4_key {
	__be32 address;
	__be16 dport;
	__u16 backend_slot;	/* 0: the service itself */
	__u8 proto;
	__u8 scope;
	__u8 pad[2];
};

struct lb6_key {
	union ip16 address;
	__be16 dport;
	__u16 backend_slot;
	__u8 proto;
	__u8 scope;
	__u8 pad[2];
};

struct lb_service {
	__u32 backend_id;	/* slots 1..count */
	__u16 count;		/* slot 0 */
	__be16 rev_nat_index;
	__u8 flags;		/* enum lb_flag, low byte */
	__u8 flags2;		/* high byte */
	__u16 qcount;
};

struct lb4_backend {
	__be32 address;
	__be16 port;
	__u8 proto;
	__u8 flags;
	__u16 cluster_id;
	__u8 zone;
	__u8 pad;
};

struct lb6_backend {
	union ip16 address;
	__be16 port;
	__u8 proto;
	__u8 flags;
	__u16 cluster_id;
	__u8 zone;
	__u8 pad;
};

struct lb4_reverse_nat {
	__be32 address;
	__be16 port;
	__u8 pad[2];
};

struct lb6_reverse_nat {
	union ip16 address;
	__be16 port;
	__u8 pad[2];
};

#define LB_MAP(name, size, key_type, value_type)		\
	struct {						\
		__uint(type, BPF_MAP_TYPE_HASH);		\
		__uint(max_entries, size);			\
		__type(key, key_type);				\
		__type(value, value_type);			\
		__uint(map_flags, BPF_F_NO_PREALLOC);		\
		__uint(pinning, LIBBPF_PIN_BY_NAME);		\
	} name SEC(".maps")

LB_MAP(cilium_lb4_services_v2, 65536, struct lb4_key, struct lb_service);
LB_MAP(cilium_lb6_services_v2, 65536, struct lb6_key, struct lb_service);
LB_MAP(cilium_lb4_backends_v3, 65536, __u32, struct lb4_backend);
LB_MAP(cilium_lb6_backends_v3, 65536, __u32, struct lb6_backend);
LB_MAP(cilium_lb4_reverse_nat, 65536, __be16, struct lb4_reverse_nat);
LB_MAP(cilium_lb6_reverse_nat, 65536, __be16, struct lb6_reverse_nat);

/* An address and port of either family. */
struct lb_address {
	union ip16 ip;
	__be16 port;
	__u8 family;
	__u8 proto;
};

INLINE struct lb_service *lb_slot(const struct lb_address *front, __u16 slot)
{
	struct lb4_key key4 = { .address = front->ip.v4, .dport = front->port,
				.backend_slot = slot, .proto = front->proto };
	struct lb6_key key6 = { .address = front->ip, .dport = front->port,
				.backend_slot = slot, .proto = front->proto };

	if (front->family == FAMILY_V4)
		return bpf_map_lookup_elem(&cilium_lb4_services_v2, &key4);
	return bpf_map_lookup_elem(&cilium_lb6_services_v2, &key6);
}

INLINE bool lb_backend(__u32 id, struct lb_address *address)
{
	struct lb4_backend *b4;
	struct lb6_backend *b6;

	if (address->family == FAMILY_V4) {
		b4 = bpf_map_lookup_elem(&cilium_lb4_backends_v3, &id);
		if (!b4)
			return false;
		address->ip.v4 = b4->address;
		address->port = b4->port;
		return true;
	}
	b6 = bpf_map_lookup_elem(&cilium_lb6_backends_v3, &id);
	if (!b6)
		return false;
	address->ip = b6->address;
	address->port = b6->port;
	return true;
}

enum lb_result {
	LB_NO_SERVICE = 0,
	LB_TRANSLATED = 1,
	LB_NO_BACKEND = -1,
};

#define LB_ATTEMPTS 4	/* a master read just before the agent shrank it names a slot
			 * that is gone: look again */

/* Replaces a frontend's address by that of a random backend. */
INLINE enum lb_result lb_translate(struct lb_address *address, __be16 *rev_nat_index)
{
	struct lb_service *service, *slot;
	int i;

	for (i = 0; i < LB_ATTEMPTS; i++) {
		service = lb_slot(address, 0);
		if (!service)
			return LB_NO_SERVICE;
		if (!service->count)
			return LB_NO_BACKEND;
		*rev_nat_index = service->rev_nat_index;
		slot = lb_slot(address, bpf_get_prandom_u32() % service->count + 1);
		if (slot && lb_backend(slot->backend_id, address))
			return LB_TRANSLATED;
	}
	return LB_NO_BACKEND;
}

#endif
