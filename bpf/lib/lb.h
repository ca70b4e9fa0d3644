/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Services: frontend and slot to backend id, backend id to address, for both
 * families. The agent writes backends, then slots, then the master (slot 0), and
 * only backends that may be used stand in slots 1..count. One value layout serves
 * both families; keys and backends differ by the address. How one of the backends is
 * chosen is lb_select.h's.
 *
 * A service that looks different from outside and from inside (traffic policy Local)
 * is there twice, told apart by the scope in the key; both masters have
 * LB_TWO_SCOPES. All others are there once, under the external scope.
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
	LB_QUARANTINED = 0x4000,	/* of a slot */
	LB_SOURCE_RANGE_DENY = 0x4000,	/* of a master: its ranges are those kept out */
	LB_DSR = 0x8000,
};

enum lb_scope {
	LB_SCOPE_EXTERNAL = 0,	/* packets that come from outside the cluster */
	LB_SCOPE_INTERNAL = 1,	/* pods, and nodes themselves */
};

enum lb_algorithm {
	LB_ALGORITHM_DEFAULT = 0,	/* random */
	LB_ALGORITHM_RANDOM = 1,
	LB_ALGORITHM_MAGLEV = 2,
};

enum lb_backend_state {
	LB_STATE_ACTIVE = 0,
	LB_STATE_TERMINATING = 1,
	LB_STATE_QUARANTINED = 2,
	LB_STATE_MAINTENANCE = 3,
	LB_STATE_TERMINATING_NOT_SERVING = 4,
};

/* Never read: keeps the names in the BTF, where the agent finds them. */
struct lb_vocabulary {
	enum lb_flag flag;
	enum lb_scope scope;
	enum lb_algorithm algorithm;
	enum lb_backend_state backend_state;
};

const volatile struct lb_vocabulary lb_vocabulary __attribute__((used)) = {};

struct lb4_key {
	__be32 address;
	__be16 dport;
	__u16 backend_slot;	/* 0: the service itself */
	__u8 proto;
	__u8 scope;		/* enum lb_scope */
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
	__u32 backend_id;	/* slot 0: affinity timeout in seconds (24 bits), and
				 * enum lb_algorithm << 24 */
	__u16 count;		/* slot 0: slots for new connections */
	__be16 rev_nat_index;
	__u8 flags;		/* enum lb_flag, low byte */
	__u8 flags2;		/* high byte */
	__u16 qcount;		/* slot 0: further slots, of backends that take no new
				 * connections; listed for people, not read here */
};

struct lb4_backend {
	__be32 address;
	__be16 port;
	__u8 proto;
	__u8 flags;		/* enum lb_backend_state */
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

enum lb_result {
	LB_NO_SERVICE = 0,
	LB_TRANSLATED = 1,
	LB_NO_BACKEND = -1,
};

INLINE __u16 lb_flags(const struct lb_service *service)
{
	return service->flags | service->flags2 << 8;
}

INLINE struct lb_service *lb_slot(const struct lb_address *front, __u16 slot, __u8 scope)
{
	struct lb4_key key4 = { .address = front->ip.v4, .dport = front->port,
				.backend_slot = slot, .proto = front->proto, .scope = scope };
	struct lb6_key key6 = { .address = front->ip, .dport = front->port,
				.backend_slot = slot, .proto = front->proto, .scope = scope };

	if (front->family == FAMILY_V4)
		return bpf_map_lookup_elem(&cilium_lb4_services_v2, &key4);
	return bpf_map_lookup_elem(&cilium_lb6_services_v2, &key6);
}

/* The master of a frontend as it looks from `scope`, or NULL: no service. */
INLINE struct lb_service *lb_find(const struct lb_address *front, __u8 scope)
{
	struct lb_service *service = lb_slot(front, 0, LB_SCOPE_EXTERNAL);

	if (scope == LB_SCOPE_INTERNAL && service && lb_flags(service) & LB_TWO_SCOPES)
		return lb_slot(front, 0, LB_SCOPE_INTERNAL);
	return service;
}

/* The address of a backend, whatever its state: a connection that has it keeps it.
 * `address` says the family and takes the rest; false: gone.
 */
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

/* Which frontend an index stands for; NULL: the service is gone. */
INLINE struct lb4_reverse_nat *lb4_reverse(__be16 rev_nat_index)
{
	return bpf_map_lookup_elem(&cilium_lb4_reverse_nat, &rev_nat_index);
}

#endif
