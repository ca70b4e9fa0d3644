/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which service a socket's destination is, seen from inside. Called by sock.bpf.c.
 *
 * NodePorts and HostPorts stand in the table under each address of this node that
 * serves them, and once more under no address (0.0.0.0, ::), the surrogate: that is
 * asked for loopback, and for the addresses of all the nodes there are.
 */
#ifndef SETA_SOCK_SERVICE_H
#define SETA_SOCK_SERVICE_H

#include "common.h"
#include "eps.h"
#include "ipcache.h"
#include "lb.h"
#include "lb_select.h"

#define LOOPBACK_FIRST_BYTE 127

/* Also no address at all: to connect there is to connect to oneself. */
INLINE bool is_loopback(const struct lb_address *address)
{
	const union ip16 *ip = &address->ip;

	if (address->family == FAMILY_V4)
		return ip->bytes[0] == LOOPBACK_FIRST_BYTE || !ip->v4;
	return !ip->words[0] && !ip->words[1] && !ip->words[2] &&
	       (!ip->words[3] || ip->words[3] == bpf_htonl(1));
}

INLINE struct lb_address surrogate_of(const struct lb_address *address)
{
	return (struct lb_address){ .port = address->port, .family = address->family,
				    .proto = address->proto };
}

/* Whether this node is meant (own), or any of the cluster's nodes. */
INLINE bool is_node(const struct lb_address *address, bool own)
{
	struct endpoint_info *ep = endpoint_find(&address->ip, address->family);
	__u32 identity;

	if (ep)
		return !endpoint_is_pod(ep);
	identity = ipcache_identity(ipcache_find(&address->ip, address->family));
	return identity == IDENTITY_HOST || (!own && identity_is_node(identity));
}

/* The surrogate's master, if the address is one it stands for: `front` becomes it. A
 * HostPort is this node's alone. The table is asked first: most destinations are
 * neither a service nor a node, and a hash costs less than the addresses' trie.
 */
INLINE struct lb_service *node_service(struct lb_address *front, bool loopback)
{
	struct lb_address any = surrogate_of(front);
	struct lb_service *service = lb_find(&any, LB_SCOPE_INTERNAL);

	if (!service || !(lb_flags(service) & (LB_NODEPORT | LB_HOSTPORT)))
		return NULL;
	if (!loopback && !is_node(front, lb_flags(service) & LB_HOSTPORT))
		return NULL;
	*front = any;
	return service;
}

/* `front`: the destination, and then the frontend it stands under. Loopback is the
 * node's only in the node's own namespace; a pod's is the pod's.
 */
INLINE struct lb_service *sock_service(struct lb_address *front, bool in_node)
{
	bool loopback = is_loopback(front);
	struct lb_service *service;

	if (loopback && !in_node)
		return NULL;
	service = lb_find(front, LB_SCOPE_INTERNAL);
	return service ?: node_service(front, loopback);
}

/* All datagrams of a socket go to one backend as long as there are as many: protocols
 * on top may have state in it. Each connection is on chance alone.
 */
INLINE __u32 sock_hash(__u64 cookie, __u8 proto)
{
	return proto == IPPROTO_UDP ? lb_mix(cookie ^ cookie >> 32) ?: 1 : 0;
}

INLINE bool is_nodeport(const struct lb_address *address)
{
	struct lb_service *service = lb_slot(address, 0, LB_SCOPE_EXTERNAL);

	return service && lb_flags(service) & LB_NODEPORT;
}

INLINE bool is_nodeport_anywhere(const struct lb_address *address)
{
	struct lb_address any = surrogate_of(address);

	return is_nodeport(&any);
}

#endif
