/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which backend a new connection gets: the one its client had before (affinity), else
 * one by the service's algorithm. Called where a connection begins: the socket hooks,
 * and the packet programs for what has no connection entry yet.
 */
#ifndef SETA_LB_SELECT_H
#define SETA_LB_SELECT_H

#include "common.h"
#include "config.h"
#include "lb.h"
#include "lb_affinity.h"
#include "lb_maglev.h"
#include "lb_source.h"

#define LB_ATTEMPTS 4	/* a master read just before the agent shrank it names a slot
			 * that is gone: look again */

/* What lb_select() decided. */
struct lb_choice {
	__u32 backend_id;
	__be16 rev_nat_index;
	__u16 flags;			/* of the frontend: enum lb_flag */
	struct lb_address backend;
};

/* Mixes so that every bit of `value` moves every bit of the result (the finaliser of
 * MurmurHash3).
 */
INLINE __u32 lb_mix(__u32 value)
{
	value = (value ^ value >> 16) * 0x85ebca6b;
	value = (value ^ value >> 13) * 0xc2b2ae35;
	return value ^ value >> 16;
}

/* A hash of a client's connection to a frontend; never 0, and the same on every node
 * with the same maglev.hashSeed.
 */
INLINE __u32 lb_hash(const union ip16 *client, __be16 port, const struct lb_address *front)
{
	__u32 hash = cfg.maglev_seed;

	hash = lb_mix(hash ^ client->words[0]);
	if (front->family == FAMILY_V6) {
		hash = lb_mix(hash ^ client->words[1]);
		hash = lb_mix(hash ^ client->words[2]);
		hash = lb_mix(hash ^ client->words[3]);
	}
	hash = lb_mix(hash ^ ((__u32)port << 16 | front->port));
	hash = lb_mix(hash ^ front->ip.words[0] ^ front->proto);
	return hash ?: 1;
}

/* The scope in the keys of a service's slots. */
INLINE __u8 lb_slot_scope(const struct lb_service *service, __u8 scope)
{
	return lb_flags(service) & LB_TWO_SCOPES ? scope : LB_SCOPE_EXTERNAL;
}

/* Looks up the service again where a slot or backend went away meanwhile. */
INLINE __u32 lb_pick(const struct lb_address *front, const struct lb_service *service,
		     __u8 scope, __u32 hash, struct lb_address *backend)
{
	struct lb_service *slot;
	__u32 id, i;

	for (i = 0; i < LB_ATTEMPTS; i++) {
		if (i)
			service = lb_find(front, scope);
		if (!service || !service->count)
			return 0;
		if (!hash || i)
			hash = bpf_get_prandom_u32();
		id = service->backend_id >> 24 == LB_ALGORITHM_MAGLEV ?
			lb_maglev_find(service, front->family, hash) : 0;
		if (!id) {
			slot = lb_slot(front, hash % service->count + 1,
				       lb_slot_scope(service, scope));
			id = slot ? slot->backend_id : 0;
		}
		if (id && lb_backend(id, backend))
			return id;
	}
	return 0;
}

/* Chooses for a new connection to `front`, whose master `service` lb_find() gave for
 * `scope`. client_id: the client's IPv4 address, or `by_netns` its namespace's cookie.
 * hash: what the choice hangs on, mostly lb_hash(); 0: on chance alone.
 */
INLINE enum lb_result lb_select(const struct lb_address *front, const struct lb_service *service,
				__u8 scope, __u64 client_id, bool by_netns, __u32 hash,
				struct lb_choice *choice)
{
	struct lb_client client = { client_id, service->rev_nat_index, front->family, by_netns,
				    lb_slot_scope(service, scope) };
	__u32 timeout = service->backend_id & LB_AFFINITY_SECONDS;

	choice->rev_nat_index = service->rev_nat_index;
	choice->flags = lb_flags(service);
	choice->backend.family = front->family;
	choice->backend.proto = front->proto;
	choice->backend_id = 0;
	if (!service->count)
		return LB_NO_BACKEND;
	if (choice->flags & LB_AFFINITY) {
		choice->backend_id = lb_affinity_find(&client, timeout);
		if (choice->backend_id && lb_backend(choice->backend_id, &choice->backend))
			return LB_TRANSLATED;
	}
	choice->backend_id = lb_pick(front, service, scope, hash, &choice->backend);
	if (!choice->backend_id)
		return LB_NO_BACKEND;
	if (choice->flags & LB_AFFINITY)
		lb_affinity_store(&client, choice->backend_id);
	return LB_TRANSLATED;
}

#endif
