// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What leaves for the network. On the native device, egress. Gives packets of local
 * pods the node's address where the world must not see the pod's, and answers of the
 * node's own backends their service's; all else goes out as it is, if the node's own
 * policies let it. The packet's way:
 *
 *   (a service's, translated, or a VLAN's: on) -> network header -> (the node's own: its gate, if it is
 *   guarded; a service's answer: the service's address)
 *   -> (not a pod's, or for the cluster: untouched) -> L4 header
 *   -> fragment's ports -> ICMP error's connection -> masquerade
 */
#include "lib/common.h"
#include "lib/delivery.h"
#include "lib/eps.h"
#include "lib/exit.h"
#include "lib/frag.h"
#include "lib/host.h"
#include "lib/icmp.h"
#include "lib/ipcache.h"
#include "lib/nat.h"
#include "lib/parse.h"
#include "lib/service_back.h"

#undef THIS_FILE
#define THIS_FILE FILE_TO_NETDEV_BPF_C

/* Whether pods show their own address there: pods and reserved addresses of the
 * cluster, and other nodes if these have routes to pods (native). Under a tunnel the
 * network need not know pod addresses, so nodes see this node's.
 */
INLINE bool is_inside(const struct remote_endpoint_info *info)
{
	__u32 identity = ipcache_identity(info);

	if (identity_is_node(identity))
		return !cfg.tunnel;
	return identity != IDENTITY_WORLD && identity < IDENTITY_CIDR_SCOPE;
}

/* Cheapest questions first: most packets here are not masqueraded. */
INLINE bool needs_masquerade(struct pkt *p)
{
	struct remote_endpoint_info *info;

	if (!cfg.masquerade || in_native_range(p->t.daddr.v4))
		return false;
	p->src_ep = endpoint_find(&p->t.saddr, FAMILY_V4);
	if (!endpoint_is_pod(p->src_ep))
		return false;
	p->src_id = p->src_ep->sec_id;
	p->ep_id = p->src_ep->lxc_id;
	info = ipcache_find(&p->t.daddr, FAMILY_V4);
	p->dst_id = ipcache_identity(info);
	return !is_inside(info);
}

INLINE int send(struct pkt *p)
{
	TRY(parse_l4(p));
	TRY(frag_ports(p));
	TRY(icmp_inner(p));
	TRY(nat_masquerade(p));
	p->observation = OBSERVED_TO_NETWORK;
	return TC_ACT_OK;
}

/* What the node says itself, before anything is masqueraded. */
INLINE bool is_guarded(struct pkt *p)
{
	p->src_ep = endpoint_find(&p->t.saddr, FAMILY_V4);
	return host_is_guarded(p->src_ep);
}

INLINE int send_own(struct pkt *p)
{
	p->src_id = IDENTITY_HOST;
	p->dst_id = ipcache_identity(ipcache_find(&p->t.daddr, FAMILY_V4));
	TRY(host_parse(p));
	TRY(host_gate(p, p->src_ep, DIR_EGRESS, p->dst_id));
	p->observation = OBSERVED_TO_NETWORK;
	return TC_ACT_OK;
}

/* Whether the node's packet answers the client of a service (nodeport_to_host()). */
INLINE bool is_for_client(struct pkt *p)
{
	const struct tuple *t = &p->t;
	struct ct_entry *entry;
	union ct_key key = {};

	if (parse_l4(p) < 0 || icmp_inner(p) < 0 ||
	    (p->fragment == FRAGMENT_LATER && frag_recall(p) < 0))
		return false;
	if (p->is_error)
		t = &p->inner;
	ct_key_reverse(&key, t, FAMILY_V4, CT_TUPLE_IN);
	p->now = ct_now();
	entry = ct_find(&key, FAMILY_V4, t->proto == IPPROTO_TCP);
	if (!ct_is_alive(entry, p->now) || !entry->rev_nat_index)
		return false;
	p->answer_of = entry->rev_nat_index;
	p->ct_flags = entry->flags;
	if (!p->is_error)
		ct_touch(entry, p, t->proto == IPPROTO_TCP, true);
	return true;
}

INLINE int send_to_client(struct pkt *p)
{
	if (p->fragment == FRAGMENT_FIRST)
		frag_remember(p);
	p->src_id = IDENTITY_HOST;
	p->dst_id = ipcache_identity(ipcache_find(&p->t.daddr, FAMILY_V4));
	p->ct_state = p->is_error ? CT_RELATED : CT_REPLY;
	TRY(service_back(p));
	p->observation = OBSERVED_TO_NETWORK;
	return TC_ACT_OK;
}

INLINE int own_packet(struct pkt *p)
{
	bool guarded = cfg.host_firewall && is_guarded(p);
	int rc = guarded ? send_own(p) : TC_ACT_OK;

	if (rc >= 0 && is_for_client(p))
		return leave(p, send_to_client(p));
	return guarded ? leave(p, rc) : TC_ACT_OK;
}

SEC("tc")
int to_netdev(struct __sk_buff *skb)
{
	struct pkt p = { .skb = skb, .dir = DIR_EGRESS, .observation = OBSERVED_FROM_STACK };

	if (skb->mark == MARK_SERVICE) {
		skb->mark = 0;
		return TC_ACT_OK;
	}
	if (is_of_vlan(skb) || parse_l2(&p) < 0 || p.ethertype != ETH_P_IP || parse_l3(&p) < 0)
		return TC_ACT_OK;
	if (p.t.saddr.v4 == cfg.node_ip.v4)
		return own_packet(&p);
	if (cfg.host_firewall && is_guarded(&p))
		return leave(&p, send_own(&p));
	return needs_masquerade(&p) ? leave(&p, send(&p)) : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
