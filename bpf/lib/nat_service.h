/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A client's packets to a backend on another node leave with this node's address, so that
 * the answers come back here. Called by nodeport.h; the way back is nat_unmasquerade().
 * The mapping stands under the client's tuple to the frontend: two frontends with one
 * backend do not get in each other's way.
 */
#ifndef SETA_NAT_SERVICE_H
#define SETA_NAT_SERVICE_H

#include "common.h"
#include "config.h"
#include "conntrack.h"
#include "nat_port.h"
#include "packet.h"
#include "service.h"

#undef THIS_FILE
#define THIS_FILE FILE_NAT_SERVICE_H

/* The two keys of the mapping, and whose it is. */
INLINE void nat_service_search(const struct tuple *t, const struct service *s, union ct_key *out,
			       struct nat_search *search)
{
	search->entry = (struct nat4_entry){ 0, t->saddr.v4, t->sport, s->rev_nat_index };
	search->answer = (struct ct4_tuple){ cfg.node_ip.v4, s->backend, 0, s->backend_port,
					     t->proto, CT_TUPLE_IN };
	ct_key_forward(out, t, FAMILY_V4, CT_TUPLE_SERVICE);
}

/* Stage: which address and port of the node's the packet leaves with. Before anything is
 * rewritten. An ICMP error makes no mapping.
 */
COLD int nat_service_find(struct pkt *p, const struct service *s, struct nat4_entry *result)
{
	const struct tuple *t = p->is_error ? &p->inner : &p->t;
	struct nat_search search = {};
	union ct_key out = {};

	nat_service_search(t, s, &out, &search);
	if (nat_find(&out.v4, &search, result))
		return 0;
	if (p->is_error)
		return DROP(p, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	return nat_allocate(p, &out.v4, &search, result);
}

#endif
