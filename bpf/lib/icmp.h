/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP that is about something else: errors carry the start of the packet they speak
 * of, and belong to its connection (path MTU discovery hangs on it). IPv6 neighbour
 * discovery is recognised here too.
 */
#ifndef SETA_ICMP_H
#define SETA_ICMP_H

#include <linux/icmpv6.h>

#include "common.h"
#include "packet.h"
#include "parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_ICMP_H

#define ICMP_INNER_L4 8		/* bytes of the inner L4 header every error carries */

INLINE bool icmp_is_error(const struct pkt *p)
{
	return p->t.proto == IPPROTO_ICMP && p->fragment != FRAGMENT_LATER &&
	       (p->icmp_type == ICMP_DEST_UNREACH || p->icmp_type == ICMP_TIME_EXCEEDED ||
		p->icmp_type == ICMP_PARAMETERPROB);
}

/* The inner packet was sent by the error's receiver; `inner` is its answer's tuple. */
INLINE void icmp_inner_ports(struct tuple *inner, const __be16 *l4)
{
	const __u8 *icmp = (const __u8 *)l4;

	if (inner->proto != IPPROTO_ICMP) {
		inner->dport = l4[0];
		inner->sport = l4[1];
	} else if (icmp_is_request(icmp[0])) {
		inner->dport = l4[2];
	} else if (icmp_is_answer(icmp[0])) {
		inner->sport = l4[2];
	}
}

COLD int icmp_parse_inner(struct pkt *p)
{
	__u32 off = p->l4_off + sizeof(struct icmp_header);
	__be16 l4[ICMP_INNER_L4 / 2];
	struct iphdr ip;
	__u32 hlen;

	if (p->l4_len < sizeof(struct icmp_header) + sizeof(ip) ||
	    bpf_skb_load_bytes(p->skb, off, &ip, sizeof(ip)))
		return DROP(p, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	hlen = ip.ihl * 4;
	if (ip.version != 4 || hlen < sizeof(ip) ||
	    p->l4_len < sizeof(struct icmp_header) + hlen + ICMP_INNER_L4 ||
	    bpf_skb_load_bytes(p->skb, off + hlen, l4, sizeof(l4)))
		return DROP(p, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	p->is_error = true;
	p->inner_l4_off = off + hlen;
	p->inner.saddr.v4 = ip.daddr;
	p->inner.daddr.v4 = ip.saddr;
	p->inner.proto = ip.protocol;
	if (!(ip.frag_off & bpf_htons(IP4_OFFSET_MASK)))
		icmp_inner_ports(&p->inner, l4);
	return 0;
}

/* Stage: finds the connection an ICMP error speaks of. */
INLINE int icmp_inner(struct pkt *p)
{
	return icmp_is_error(p) ? icmp_parse_inner(p) : 0;
}

#define ICMPV6_MLD_QUERY 130
#define ICMPV6_RS 133
#define ICMPV6_NS 135
#define ICMPV6_NA 136
#define ICMPV6_MLD2_REPORT 143

/* What any IPv6 stack says on its link unasked. Router advertisements and redirects
 * are not in it: a pod must not give the node a route.
 */
COLD int icmp6_is_link_chatter(struct pkt *p)
{
	__u8 *type;

	if (p->t.proto != IPPROTO_ICMPV6)
		return false;
	type = l4_header(p, sizeof(struct icmp6hdr));
	if (!type)
		return false;
	p->icmp_type = *type;
	return (*type >= ICMPV6_MLD_QUERY && *type <= ICMPV6_RS) || *type == ICMPV6_NS ||
	       *type == ICMPV6_NA || *type == ICMPV6_MLD2_REPORT;
}

/* Stage, and the last one for IPv6: pods have no IPv6 address yet. */
INLINE int ip6_link_only(struct pkt *p)
{
	return icmp6_is_link_chatter(p) ? TC_ACT_OK : DROP(p, DROP_UNSUPPORTED_L3_PROTOCOL);
}

#endif
