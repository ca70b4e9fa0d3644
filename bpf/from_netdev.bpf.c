// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What arrives from the network. On the native device, ingress. Touches what is for a
 * pod of this node or for a service, answers to masqueraded packets and, where policies
 * are for the node itself, what is for that; all else goes on as it came, malformed or
 * not. Who asks for an address that this node announces is answered here (l2.h). The
 * packet's way:
 *
 *   (another machine's or VLAN's: on) -> network header -> (for nobody here: untouched)
 *   -> L4 header -> fragment's ports -> ICMP error's connection -> reverse masquerade
 *   -> a service's backend -> target -> source's identity -> delivery (conntrack and ingress policy of the target; the
 *   node's own gate; a service's backend or client elsewhere)
 */
#include <linux/if_packet.h>

#include "lib/common.h"
#include "lib/delivery.h"
#include "lib/exit.h"
#include "lib/frag.h"
#include "lib/host.h"
#include "lib/icmp.h"
#include "lib/l2.h"
#include "lib/nat.h"
#include "lib/nodeport.h"
#include "lib/parse.h"
#include "lib/reject.h"
#include "lib/target.h"

#undef THIS_FILE
#define THIS_FILE FILE_FROM_NETDEV_BPF_C

/* Stage: of what is for the node's address, answers to packets that left with it are
 * ours, and have their owner's address again: enum nat_owner.
 */
INLINE int restore(struct pkt *p)
{
	if (p->fragment == FRAGMENT_LATER && frag_recall(p) < 0)
		return NAT_NOBODY;
	if (icmp_inner(p) < 0)
		return NAT_NOBODY;
	if (p->fragment == FRAGMENT_FIRST)
		frag_remember(p);
	return TRY(nat_unmasquerade(p));
}

/* Nobody outside may be the node itself or one of its pods; and with a tunnel between
 * nodes, no pod's packet comes without it. Only a pod of this node has a row without a
 * node, so others need no second look.
 */
INLINE bool is_forged(const union ip16 *ip, __u32 identity, const struct remote_endpoint_info *info)
{
	if (identity == IDENTITY_HOST)
		return true;
	if (!info || identity_is_node(identity))
		return false;
	if (info->tunnel_endpoint.v4)
		return cfg.tunnel;
	return endpoint_is_pod(endpoint_find(ip, FAMILY_V4));
}

/* The identity of an address, negative where it is forged. Global, so that the verifier
 * looks at it once and by itself.
 */
__attribute__((noinline)) int sender(__be32 addr)
{
	union ip16 ip = { .words = { addr } };
	struct remote_endpoint_info *info = ipcache_find(&ip, FAMILY_V4);
	int identity = ipcache_identity(info);

	return is_forged(&ip, identity, info) ? -identity : identity;
}

/* Stage: who sent it, by its address. */
INLINE int find_sender(struct pkt *p)
{
	int identity = sender(p->t.saddr.v4);

	p->src_id = identity < 0 ? -identity : identity;
	return identity < 0 ? DROP(p, DROP_INVALID_SOURCE_IP) : 0;
}

INLINE int receive(struct pkt *p)
{
	TRY(parse_l4(p));
	TRY(frag_ports(p));
	TRY(icmp_inner(p));
	TRY(find_sender(p));
	TRY(dsr_option(p));
	return SERVICE_TO_POD;
}

/* The answer's pod may be gone by now. */
INLINE int receive_restored(struct pkt *p)
{
	TRY(find_target(p));
	if (!endpoint_is_pod(p->dst_ep))
		return DROP(p, DROP_NO_MATCHING_LOCAL_CONTAINER_FOUND);
	TRY(find_sender(p));
	return SERVICE_TO_POD;
}

/* The answering backend is on another node. */
INLINE int receive_for_client(struct pkt *p)
{
	p->src_id = ipcache_identity(ipcache_find(&p->t.saddr, p->family));
	return nodeport_return(p);
}

/* Stage: the backend of what is for a service's address. SERVICE_NONE: it is not. */
INLINE int choose(struct pkt *p)
{
	struct lb_service *service;
	struct service *s;

	if (!service_may_be(p))
		return SERVICE_NONE;
	service = service_find(p->t.daddr.v4, p->t.dport, p->t.proto, LB_SCOPE_EXTERNAL);
	if (!service || !(service->flags & LB_ROUTABLE))
		return SERVICE_NONE;
	s = service_new(LB_SCOPE_EXTERNAL);
	if (!s)
		return SERVICE_NONE;
	if (p->fragment == FRAGMENT_FIRST)
		frag_remember(p);
	p->dir = DIR_SERVICE;
	TRY(find_sender(p));
	return nodeport_choose(p, service, s);
}

/* The same for an ICMP error about a service's answer. */
INLINE int choose_of_error(struct pkt *p)
{
	struct service *s = service_new(LB_SCOPE_EXTERNAL);

	if (!s || !service_of_error(p, s))
		return SERVICE_NONE;
	p->dir = DIR_SERVICE;
	TRY(find_sender(p));
	return find_owner(p, s->backend);
}

INLINE int to_service(struct pkt *p)
{
	int rc = TRY(p->is_error ? choose_of_error(p) : choose(p));
	struct service *s = service_current();

	return rc == SERVICE_NONE || !s ? SERVICE_NONE : nodeport_send(p, s);
}

INLINE int receive_for_host(struct pkt *p)
{
	TRY(host_parse(p));
	TRY(find_sender(p));
	TRY(host_gate(p, p->dst_ep, DIR_INGRESS, p->src_id));
	return deliver_to_stack(p, OBSERVED_TO_HOST);
}

/* Stage: all that tells which service a packet is for. 0: it can be told. */
INLINE int read_ports(struct pkt *p)
{
	TRY(parse_l4(p));
	if (p->fragment == FRAGMENT_LATER)
		TRY(frag_recall(p));
	return icmp_inner(p);
}

#define UNTOUCHED 0x102

/* rc, here and below: what parse_l3() said. Returned: a tc action, a drop, SERVICE_TO_POD
 * or UNTOUCHED. Each of them is seen to in one place only, since the verifier looks at
 * every call anew.
 */
INLINE int for_own_address(struct pkt *p, int rc)
{
	if (!cfg.host_firewall || find_target(p) < 0 || !host_is_guarded(p->dst_ep))
		return UNTOUCHED;
	return rc < 0 ? rc : receive_for_host(p);
}

INLINE int for_pod(struct pkt *p, int rc)
{
	return rc < 0 ? rc : receive(p);
}

INLINE int for_elsewhere(struct pkt *p, int rc)
{
	return rc < 0 || read_ports(p) < 0 ? SERVICE_NONE : to_service(p);
}

/* What asks the node itself begins there, whichever service's the same ports were before:
 * its answers are no service's (to_netdev). Other packets belong to what began.
 */
COLD int forget_front(struct pkt *p)
{
	bool tcp = p->t.proto == IPPROTO_TCP;
	struct ct_entry *entry;
	union ct_key key = {};

	if (p->fragment == FRAGMENT_LATER || (tcp ? !is_pure_syn(p) : p->t.proto != IPPROTO_UDP) ||
	    (cfg.tunnel && p->t.dport == cfg.tunnel_port))
		return SERVICE_NONE;
	ct_key_forward(&key, &p->t, FAMILY_V4, CT_TUPLE_IN);
	entry = ct_find(&key, FAMILY_V4, tcp);
	if (entry && entry->rev_nat_index)
		entry->rev_nat_index = 0;
	return SERVICE_NONE;
}

INLINE int for_node(struct pkt *p, int rc)
{
	int owner;

	if (rc < 0 || parse_l4(p) < 0)
		return SERVICE_NONE;
	owner = TRY(restore(p));
	if (owner == NAT_POD)
		return receive_restored(p);
	if (owner == NAT_CLIENT)
		return receive_for_client(p);
	rc = TRY(to_service(p));
	return rc == SERVICE_NONE ? forget_front(p) : rc;
}

INLINE int sort(struct pkt *p, int rc)
{
	bool own = p->t.daddr.v4 == cfg.node_ip.v4;
	int done;

	if (!own && !find_target(p)) {
		if (endpoint_is_pod(p->dst_ep))
			return for_pod(p, rc);
		own = p->dst_ep;
	}
	done = own ? for_node(p, rc) : for_elsewhere(p, rc);
	return done == SERVICE_NONE ? for_own_address(p, rc) : done;
}

/* A promiscuous device sees other machines' frames, too; the stack drops those. No policy
 * of the node's own is passed by: what comes by a VLAN goes to that one's device.
 */
INLINE bool is_heard(const struct __sk_buff *skb)
{
	return skb->pkt_type != PACKET_OTHERHOST && !is_of_vlan(skb);
}

SEC("tc")
int from_netdev(struct __sk_buff *skb)
{
	struct pkt p = { .skb = skb, .dir = DIR_INGRESS, .observation = OBSERVED_FROM_NETWORK };
	int rc;

	if (!is_heard(skb) || parse_l2(&p) < 0)
		return TC_ACT_OK;
	if (p.ethertype != ETH_P_IP)
		return l2_answer(&p);
	rc = sort(&p, parse_l3(&p));
	if (rc == UNTOUCHED)
		return TC_ACT_OK;
	if (rc == SERVICE_TO_POD)
		rc = p.dst_ep ? deliver_local(&p) : DROP(&p, DROP_NO_MATCHING_LOCAL_CONTAINER_FOUND);
	return leave_or_reject(&p, rc);
}

char _license[] SEC("license") = "Dual BSD/GPL";
