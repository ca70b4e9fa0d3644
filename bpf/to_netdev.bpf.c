// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What leaves for the network. On the native device, egress. Gives packets of local
 * pods the node's address where the world must not see the pod's; all else goes out
 * as it is, if the node's own policies let it. The packet's way:
 *
 *   network header -> (the node's own: its gate, if it is guarded)
 *   -> (not a pod's, or for the cluster: untouched) -> L4 header
 *   -> fragment's ports -> ICMP error's connection -> masquerade
 */
#include "lib/common.h"
#include "lib/eps.h"
#include "lib/exit.h"
#include "lib/frag.h"
#include "lib/host.h"
#include "lib/icmp.h"
#include "lib/ipcache.h"
#include "lib/nat.h"
#include "lib/parse.h"

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

	if (!cfg.masquerade || p->t.saddr.v4 == cfg.node_ip.v4 || in_native_range(p->t.daddr.v4))
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

SEC("tc")
int to_netdev(struct __sk_buff *skb)
{
	struct pkt p = { .skb = skb, .dir = DIR_EGRESS, .observation = OBSERVED_FROM_STACK };

	if (parse_l2(&p) < 0 || p.ethertype != ETH_P_IP || parse_l3(&p) < 0)
		return TC_ACT_OK;
	if (cfg.host_firewall && is_guarded(&p))
		return leave(&p, send_own(&p));
	return needs_masquerade(&p) ? leave(&p, send(&p)) : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
