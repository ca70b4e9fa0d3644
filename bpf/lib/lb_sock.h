/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_lb4_reverse_sk and its IPv6 twin: which service address a socket was given
 * for a backend, so that getpeername and recvmsg show what the application asked
 * for. A connected socket's entry goes with the socket. LRU: one datagram socket may
 * have spoken to many, which nobody counts.
 */
#ifndef SETA_LB_SOCK_H
#define SETA_LB_SOCK_H

#include "common.h"
#include "lb.h"

struct lb4_reverse_sk_key {
	__u64 cookie;		/* of the socket */
	__be32 address;		/* backend */
	__be16 port;
	__u16 pad;
};

struct lb4_reverse_sk {
	__be32 address;		/* frontend */
	__be16 port;
	__be16 rev_nat_index;
};

struct lb6_reverse_sk_key {
	__u64 cookie;
	union ip16 address;
	__be16 port;
	__u16 pad[3];
};

struct lb6_reverse_sk {
	union ip16 address;
	__be16 port;
	__be16 rev_nat_index;
};

#define LB_SOCK_MAP(name, key_type, value_type)			\
	struct {						\
		__uint(type, BPF_MAP_TYPE_LRU_HASH);		\
		__uint(max_entries, 262144);			\
		__type(key, key_type);				\
		__type(value, value_type);			\
		__uint(pinning, LIBBPF_PIN_BY_NAME);		\
	} name SEC(".maps")

LB_SOCK_MAP(cilium_lb4_reverse_sk, struct lb4_reverse_sk_key, struct lb4_reverse_sk);
LB_SOCK_MAP(cilium_lb6_reverse_sk, struct lb6_reverse_sk_key, struct lb6_reverse_sk);

/* Whether what is remembered for a backend is this frontend: then, as for each further
 * datagram of a socket, nothing has to be written.
 */
INLINE bool lb_sock_knows4(const struct lb4_reverse_sk_key *key, const struct lb4_reverse_sk *value)
{
	struct lb4_reverse_sk *known = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, key);

	return known && known->address == value->address && known->port == value->port;
}

INLINE bool lb_sock_knows6(const struct lb6_reverse_sk_key *key, const struct lb6_reverse_sk *value)
{
	struct lb6_reverse_sk *known = bpf_map_lookup_elem(&cilium_lb6_reverse_sk, key);

	return known && ip16_equal(&known->address, &value->address) && known->port == value->port;
}

INLINE long lb_sock_remember(__u64 cookie, const struct lb_address *backend,
			     const struct lb_address *front, __be16 rev_nat_index)
{
	struct lb4_reverse_sk_key key4 = { .cookie = cookie, .address = backend->ip.v4,
					   .port = backend->port };
	struct lb4_reverse_sk value4 = { front->ip.v4, front->port, rev_nat_index };
	struct lb6_reverse_sk_key key6 = { .cookie = cookie, .address = backend->ip,
					   .port = backend->port };
	struct lb6_reverse_sk value6 = { front->ip, front->port, rev_nat_index };

	if (backend->family == FAMILY_V4)
		return lb_sock_knows4(&key4, &value4) ? 0 :
		       bpf_map_update_elem(&cilium_lb4_reverse_sk, &key4, &value4, BPF_ANY);
	return lb_sock_knows6(&key6, &value6) ? 0 :
	       bpf_map_update_elem(&cilium_lb6_reverse_sk, &key6, &value6, BPF_ANY);
}

/* The socket closes, connected to this backend or to anything else. */
INLINE void lb_sock_forget(__u64 cookie, const struct lb_address *peer)
{
	struct lb4_reverse_sk_key key4 = { .cookie = cookie, .address = peer->ip.v4,
					   .port = peer->port };
	struct lb6_reverse_sk_key key6 = { .cookie = cookie, .address = peer->ip,
					   .port = peer->port };

	if (peer->family == FAMILY_V4)
		bpf_map_delete_elem(&cilium_lb4_reverse_sk, &key4);
	else
		bpf_map_delete_elem(&cilium_lb6_reverse_sk, &key6);
}

/* Replaces a backend's address by the frontend this socket asked for; false: none. */
INLINE bool lb_sock_recall(__u64 cookie, struct lb_address *address)
{
	struct lb4_reverse_sk_key key4 = { .cookie = cookie, .address = address->ip.v4,
					   .port = address->port };
	struct lb6_reverse_sk_key key6 = { .cookie = cookie, .address = address->ip,
					   .port = address->port };
	struct lb4_reverse_sk *v4;
	struct lb6_reverse_sk *v6;

	if (address->family == FAMILY_V4) {
		v4 = bpf_map_lookup_elem(&cilium_lb4_reverse_sk, &key4);
		if (!v4)
			return false;
		address->ip.v4 = v4->address;
		address->port = v4->port;
		return true;
	}
	v6 = bpf_map_lookup_elem(&cilium_lb6_reverse_sk, &key6);
	if (!v6)
		return false;
	address->ip = v6->address;
	address->port = v6->port;
	return true;
}

#endif
