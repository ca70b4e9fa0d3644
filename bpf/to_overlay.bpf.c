// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What goes into the tunnel. On the VXLAN device, egress. from_container has set the
 * key of what pods send; what the node's own stack routes here gets it now.
 *
 *   (key is set: on) -> headers -> source's identity -> node of the destination
 *   -> the node's own gate, if it sends -> key
 */
#include "lib/common.h"
#include "lib/delivery.h"
#include "lib/eps.h"
#include "lib/exit.h"
#include "lib/host.h"
#include "lib/icmp.h"
#include "lib/ipcache.h"
#include "lib/parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_TO_OVERLAY_BPF_C

/* Stage: who sent it. A local pod's packet comes here by the stack when it was too long
 * for the tunnel.
 */
INLINE int find_sender(struct pkt *p)
{
	p->src_ep = endpoint_find(&p->t.saddr, p->family);
	if (!p->src_ep)
		p->src_id = ipcache_identity(ipcache_find(&p->t.saddr, p->family));
	else
		p->src_id = endpoint_is_pod(p->src_ep) ? p->src_ep->sec_id : IDENTITY_HOST;
	return 0;
}

/* Other nodes know this node as a remote one. */
INLINE __u32 vni_of(__u32 identity)
{
	return identity == IDENTITY_HOST ? IDENTITY_REMOTE_NODE : identity;
}

INLINE int find_node(struct pkt *p)
{
	struct remote_endpoint_info *info = ipcache_find(&p->t.daddr, p->family);

	p->dst_id = ipcache_identity(info);
	if (!info || !info->tunnel_endpoint.v4)
		return DROP(p, DROP_NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT);
	p->tunnel_endpoint = info->tunnel_endpoint.v4;
	return 0;
}

INLINE int send(struct pkt *p)
{
	TRY(parse_l2(p));
	TRY(parse_l3(p));
	if (p->family == FAMILY_V6)
		return ip6_link_only(p);
	TRY(find_sender(p));
	TRY(find_node(p));
	if (host_is_guarded(p->src_ep)) {
		TRY(host_parse(p));
		TRY(host_gate(p, p->src_ep, DIR_EGRESS, p->dst_id));
	}
	TRY(set_tunnel_key(p, vni_of(p->src_id), p->tunnel_endpoint));
	p->observation = OBSERVED_TO_OVERLAY;
	return TC_ACT_OK;
}

SEC("tc")
int to_overlay(struct __sk_buff *skb)
{
	struct pkt p = { .skb = skb, .dir = DIR_EGRESS, .observation = OBSERVED_FROM_HOST };

	if (skb->mark == MARK_TUNNEL_KEY_SET) {
		skb->mark = 0;
		return TC_ACT_OK;
	}
	return leave(&p, send(&p));
}

char _license[] SEC("license") = "Dual BSD/GPL";
