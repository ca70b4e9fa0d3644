/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which backend a packet to a frontend gets: that of its connection, else a new choice.
 * The connection is an entry of its own in the conntrack maps, from the client to the
 * frontend (CT_TUPLE_SERVICE), so that it outlives the service's slots: a backend that
 * ends keeps what it has. Called by nodeport.h for what comes from outside and by
 * packet_lb.h for pods.
 */
#ifndef SETA_SERVICE_H
#define SETA_SERVICE_H

#include "common.h"
#include "conntrack.h"
#include "ipcache.h"
#include "lb.h"
#include "lb_select.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_SERVICE_H

/* Results of stages that are no tc action: the packet is for no service; it is for the pod
 * p->dst_ep, and the caller sees to that.
 */
#define SERVICE_NONE 0x100
#define SERVICE_TO_POD 0x101

/* A packet on its way to a backend. There is one per CPU: the stack has no room for it
 * below everything else, and no two packets are on one CPU at once.
 */
struct service {
	__be32 front;			/* as the map has it */
	__be32 client;
	__be32 backend;
	__u32 backend_id;
	__be16 front_port;
	__be16 client_port;
	__be16 backend_port;
	__be16 rev_nat_index;
	__u16 flags;			/* enum lb_flag */
	__u8 proto;
	__u8 scope;			/* enum lb_scope */
	__u8 dsr;			/* the backend's node answers the client */
	__u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct service);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} seta_service_scratch SEC(".maps");

INLINE struct service *service_new(__u8 scope)
{
	struct service *s;
	__u32 zero = 0;

	s = bpf_map_lookup_elem(&seta_service_scratch, &zero);
	if (!s)		/* never: for the verifier */
		return NULL;
	memset(s, 0, sizeof(*s));
	s->scope = scope;
	return s;
}

/* The one that service_new() gave for this packet. */
INLINE struct service *service_current(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&seta_service_scratch, &zero);
}

INLINE bool service_may_be(const struct pkt *p)
{
	return p->t.proto == IPPROTO_TCP || p->t.proto == IPPROTO_UDP || p->t.proto == IPPROTO_SCTP;
}

/* The master of a frontend, or NULL. */
INLINE struct lb_service *service_find(__be32 addr, __be16 port, __u8 proto, __u8 scope)
{
	struct lb_address front = { .ip.v4 = addr, .port = port, .family = FAMILY_V4,
				    .proto = proto };

	return lb_find(&front, scope);
}

/* Where a backend is; false: gone. */
INLINE bool service_backend(struct service *s, __u32 id)
{
	struct lb_address backend = { .family = FAMILY_V4 };

	if (!lb_backend(id, &backend))
		return false;
	s->backend_id = id;
	s->backend = backend.ip.v4;
	s->backend_port = backend.port;
	return true;
}

/* The client's connection to the frontend, if it lives. */
INLINE struct ct_entry *service_entry(struct pkt *p, const struct tuple *t)
{
	struct ct_entry *entry;
	union ct_key key = {};

	if (!p->now)
		p->now = ct_now();
	ct_key_forward(&key, t, FAMILY_V4, CT_TUPLE_SERVICE);
	entry = ct_find(&key, FAMILY_V4, t->proto == IPPROTO_TCP);
	return ct_is_alive(entry, p->now) ? entry : NULL;
}

COLD int service_remember(struct pkt *p, const struct service *s)
{
	bool tcp = p->t.proto == IPPROTO_TCP;
	struct ct_entry entry = {
		.packets = 1,
		.bytes = p->skb->len,
		.src_sec_id = p->src_id,
		.rev_nat_index = s->rev_nat_index,
		.backend_id = s->backend_id,
		.flags = s->dsr ? CT_DSR : 0,
		.tx_flags_seen = p->tcp_flags,
	};
	union ct_key key = {};

	if (tcp)
		entry.flags = ct_flags_after(entry.flags, p->tcp_flags, false);
	entry.lifetime = p->now + ct_timeout(entry.flags, tcp);
	ct_key_forward(&key, &p->t, FAMILY_V4, CT_TUPLE_SERVICE);
	if (ct_store(&key, &entry, FAMILY_V4, tcp))
		return DROP(p, DROP_CT_MAP_INSERTION_FAILED);
	return 0;
}

/* The backend of a running connection. Gone: the packet is as good as a new one. That
 * ends a TCP connection, as the next backend does not know it and says so; netfilter
 * would send on to the address of who is gone.
 */
INLINE bool service_has_backend(struct pkt *p, struct service *s, __be16 rev_nat_index)
{
	struct ct_entry *entry = service_entry(p, &p->t);

	if (!entry || entry->rev_nat_index != rev_nat_index)
		return false;
	if (is_pure_syn(p) && entry->flags & CT_CLOSED)
		return false;
	if (!service_backend(s, entry->backend_id))
		return false;
	s->dsr = !!(entry->flags & CT_DSR);
	ct_touch(entry, p, p->t.proto == IPPROTO_TCP, false);
	/* The answers' end is not seen here: the client's has to do. */
	if (s->dsr && p->tcp_flags & TCP_FIN)
		__sync_fetch_and_or(&entry->flags, CT_CLOSED);
	p->ct_state = CT_ESTABLISHED;
	return true;
}

/* kube-proxy says nothing where only this node has no backend: another one may have. */
INLINE bool service_is_elsewhere(const struct service *s)
{
	struct lb_service *inside;

	if (s->scope != LB_SCOPE_EXTERNAL || !(s->flags & LB_EXT_LOCAL))
		return false;
	inside = service_find(s->front, s->front_port, s->proto, LB_SCOPE_INTERNAL);
	return inside && inside->count;
}

/* A new choice. Global, so that the verifier looks at it once and by itself: of `s` it
 * knows no more than that it is memory, and the service is looked up again.
 */
__attribute__((noinline)) int service_pick(struct service *s)
{
	struct lb_choice choice = {};
	union ip16 client = { .words = {} };
	struct lb_service *service;
	struct lb_address front = { .family = FAMILY_V4 };
	int result;

	if (!s)
		return LB_NO_BACKEND;
	front.ip.v4 = s->front;
	front.port = s->front_port;
	front.proto = s->proto;
	client.v4 = s->client;
	service = lb_find(&front, s->scope);
	if (!service)
		return LB_NO_BACKEND;
	result = lb_select(&front, service, s->scope, client.v4, false,
			   lb_hash(&client, s->client_port, &front), &choice);
	s->backend_id = choice.backend_id;
	s->backend = choice.backend.ip.v4;
	s->backend_port = choice.backend.port;
	return result;
}

/* Stage: fills in the backend; set before: front and scope. What is new is remembered by
 * service_remember(), when all about it is known. Whoever has a connection may go on,
 * but not past source ranges.
 */
COLD int service_choose(struct pkt *p, const struct lb_service *service, struct service *s)
{
	s->rev_nat_index = service->rev_nat_index;
	s->flags = lb_flags(service);
	s->proto = p->t.proto;
	if (service_has_backend(p, s, service->rev_nat_index))
		return 0;
	p->ct_state = CT_NEW;
	p->is_new = true;
	s->client = p->t.saddr.v4;
	s->client_port = p->t.sport;
	if (service_pick(s) != LB_TRANSLATED) {
		p->silent = service_is_elsewhere(s);
		return DROP(p, DROP_SERVICE_BACKEND_NOT_FOUND);
	}
	return 0;
}

/* For an ICMP error about an answer, which went to the client in the frontend's name: the
 * backend that gave it.
 */
COLD int service_of_error(struct pkt *p, struct service *s)
{
	struct ct_entry *entry = service_entry(p, &p->inner);

	if (!entry || !service_backend(s, entry->backend_id))
		return false;
	s->rev_nat_index = entry->rev_nat_index;
	s->dsr = !!(entry->flags & CT_DSR);
	p->ct_state = CT_RELATED;
	return true;
}

#endif
