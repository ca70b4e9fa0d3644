// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Services from outside, before the stack. On native devices, where XDP is wanted. Carries
 * on what from_netdev began: a client's packets to a backend on another node, and that
 * backend's answers, go out again by the device they came in by. The packet's way:
 *
 *   headers -> the connection (client's: service, source ranges, conntrack, backend, NAT;
 *   answer's: NAT, frontend, conntrack) -> route -> rewrite -> out
 *
 * Whatever is not plain, begins or ends a connection, is to be reported, or is not found
 * at any step goes on to from_netdev as it came: all that decides stands there only, and
 * each packet of a connection may take either way.
 */
#include "lib/common.h"
#include "lib/config.h"
#include "lib/conntrack.h"
#include "lib/eps.h"
#include "lib/lb.h"
#include "lib/lb_source.h"
#include "lib/metrics.h"
#include "lib/nat_port.h"
#include "lib/nat_service.h"
#include "lib/plain.h"
#include "lib/service.h"

/* What a packet becomes, and the connection it belongs to. */
struct way {
	struct ends to;
	struct ct_entry *entry;		/* from client to frontend */
	bool reply;
};

/* The address and port of this node's that the client's packets leave with. */
INLINE bool find_own(const struct pkt *p, const struct service *s, struct ends *to)
{
	struct nat_search search = {};
	struct nat4_entry own = {};
	union ct_key out = {};

	nat_service_search(&p->t, s, &out, &search);
	if (!nat_find(&out.v4, &search, &own))
		return false;
	to->saddr = own.to_addr;
	to->sport = own.to_port;
	return true;
}

INLINE bool is_local(__be32 addr)
{
	union ip16 ip = { .v4 = addr };

	return endpoint_find(&ip, FAMILY_V4);
}

/* From a client: to the backend it has, if that is on another node. */
INLINE bool find_way_there(struct pkt *p, struct way *way)
{
	struct lb_service *service;
	struct service s = {};

	service = service_find(p->t.daddr.v4, p->t.dport, p->t.proto, LB_SCOPE_EXTERNAL);
	if (!service || !(service->flags & LB_ROUTABLE) ||
	    !lb_source_allowed(service, &p->t.saddr, FAMILY_V4))
		return false;
	s.rev_nat_index = service->rev_nat_index;
	way->entry = service_entry(p, &p->t);
	if (!way->entry || way->entry->rev_nat_index != s.rev_nat_index ||
	    !service_backend(&s, way->entry->backend_id) || is_local(s.backend))
		return false;
	way->to = (struct ends){ p->t.saddr.v4, s.backend, p->t.sport, s.backend_port };
	return way->entry->flags & CT_DSR || find_own(p, &s, &way->to);
}

/* From a backend on another node: to its client, in the frontend's name. */
INLINE bool find_way_back(struct pkt *p, struct way *way)
{
	struct lb4_reverse_nat *front;
	struct nat4_entry *owner;
	struct tuple asked = {};
	union ct_key key = {};

	ct_key_forward(&key, &p->t, FAMILY_V4, CT_TUPLE_IN);
	owner = bpf_map_lookup_elem(&cilium_snat_v4_external, &key.v4);
	if (!owner || !owner->rev_nat_index)
		return false;
	front = lb4_reverse(owner->rev_nat_index);
	if (!front)
		return false;
	way->to = (struct ends){ front->address, owner->to_addr, front->port, owner->to_port };
	way->reply = true;
	asked = (struct tuple){ .saddr.v4 = owner->to_addr, .sport = owner->to_port,
				.daddr.v4 = front->address, .dport = front->port,
				.proto = p->t.proto };
	way->entry = service_entry(p, &asked);
	return way->entry;
}

INLINE bool find_way(struct pkt *p, struct way *way)
{
	if (p->t.daddr.v4 == cfg.node_ip.v4 && nat_port_in_range(bpf_ntohs(p->t.dport)))
		return find_way_back(p, way);
	return find_way_there(p, way);
}

SEC("xdp")
int xdp_service(struct xdp_md *ctx)
{
	struct metrics_key key = { .reason = REASON_FORWARDED, .dir = DIR_SERVICE };
	struct plain h = { .ctx = ctx };
	struct bpf_fib_lookup fib;
	struct way way = {};
	struct pkt p = {};

	if (cfg.trace_level == TRACE_ALL || !plain_parse(&h, &p) || !find_way(&p, &way) ||
	    !plain_route(&h, &way.to, &fib))
		return XDP_PASS;
	ct_touch(way.entry, &p, p.t.proto == IPPROTO_TCP, way.reply);
	plain_rewrite(&h, &p, &way.to);
	metrics_count(&key, p.len);
	return plain_transmit(&h, &fib);
}

char _license[] SEC("license") = "Dual BSD/GPL";
