/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Changing a packet's address and port, with every checksum that covers them, in the
 * packet and in its context. Knows TCP, UDP, SCTP, ICMP echo, and the packet that an ICMP
 * error carries.
 */
#ifndef SETA_NAT_REWRITE_H
#define SETA_NAT_REWRITE_H

#include <linux/if_ether.h>
#include <stddef.h>

#include "common.h"
#include "packet.h"
#include "parse.h"
#include "sctp.h"

#undef THIS_FILE
#define THIS_FILE FILE_NAT_REWRITE_H

#define IP4_CHECKSUM offsetof(struct iphdr, check)
#define IP4_SOURCE offsetof(struct iphdr, saddr)
#define IP4_DESTINATION offsetof(struct iphdr, daddr)
#define ICMP_CHECKSUM offsetof(struct icmp_header, checksum)
#define ICMP_ID offsetof(struct icmp_header, id)

/* An IPv4 address at `field` of the header at `ip`, and the header's checksum. */
INLINE long rewrite_ip4(struct __sk_buff *skb, __u32 ip, __u32 field, __be32 from, __be32 to)
{
	return bpf_l3_csum_replace(skb, ip + IP4_CHECKSUM, from, to, sizeof(to)) ?:
	       bpf_skb_store_bytes(skb, ip + field, &to, sizeof(to), 0);
}

/* One change: the same address and port, wherever they stand. The sender of an ICMP
 * error may be another than whom the packet in it was for: a router on the way.
 */
struct rewrite {
	__be32 from, to;
	__be32 outer_from;	/* what stands in the packet's own header */
	__be16 from_port, to_port;
	__u16 l4_off, inner_l4_off;	/* the rest is as in struct pkt */
	__u16 l4_len;
	__u8 proto, inner_proto;
	__u8 fragment, is_error;
	__u8 source;		/* or destination */
	__u8 pad;
};

/* Where the L4 checksum is, and how bpf_l4_csum_replace has to treat it. */
INLINE __u32 l4_checksum(const struct rewrite *r, __u64 *flags)
{
	switch (r->proto) {
	case IPPROTO_TCP:
		*flags = 0;
		return r->l4_off + offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		*flags = BPF_F_MARK_MANGLED_0;	/* 0 means: not computed. Leave it so. */
		return r->l4_off + offsetof(struct udphdr, check);
	default:
		*flags = 0;
		return r->l4_off + ICMP_CHECKSUM;
	}
}

/* ICMP echo has its identifier where others have ports. */
INLINE __u32 port_offset(__u8 proto, bool source)
{
	return proto == IPPROTO_ICMP ? ICMP_ID : source ? 0 : sizeof(__be16);
}

/* The checksum leaves addresses out. */
INLINE long rewrite_sctp(struct __sk_buff *skb, const struct rewrite *r)
{
	__u32 port_off = port_offset(r->proto, r->source);
	__u32 change = (__u32)(r->from_port ^ r->to_port) << 8 * port_off;

	if (!change)
		return 0;
	return sctp_rewrite_checksum(skb, r->l4_off, change, r->l4_len) ?:
	       bpf_skb_store_bytes(skb, r->l4_off + port_off, &r->to_port, sizeof(r->to_port),
				   BPF_F_RECOMPUTE_CSUM);
}

INLINE long rewrite_l4(struct __sk_buff *skb, const struct rewrite *r)
{
	__u64 flags;
	__u32 check;

	if (r->fragment == FRAGMENT_LATER)
		return 0;
	if (r->proto == IPPROTO_SCTP)
		return rewrite_sctp(skb, r);
	check = l4_checksum(r, &flags);
	if (r->proto != IPPROTO_ICMP &&	/* whose checksum leaves addresses out */
	    bpf_l4_csum_replace(skb, check, r->from, r->to,
				flags | BPF_F_PSEUDO_HDR | sizeof(r->to)))
		return -1;
	if (r->from_port == r->to_port)
		return 0;
	return bpf_l4_csum_replace(skb, check, r->from_port, r->to_port,
				   flags | sizeof(r->to_port)) ?:
	       bpf_skb_store_bytes(skb, r->l4_off + port_offset(r->proto, r->source),
				   &r->to_port, sizeof(r->to_port), 0);
}

/* The packet inside an ICMP error, where source and destination are the other way
 * round. Its header checksum makes up for the address in the ICMP checksum; only the
 * port changes that. The inner L4 checksum stays: nobody can check it on a part.
 */
INLINE long rewrite_inner(struct __sk_buff *skb, const struct rewrite *r)
{
	__u32 inner = r->l4_off + sizeof(struct icmp_header);
	__u32 port_off = r->inner_l4_off + port_offset(r->inner_proto, !r->source);

	if (rewrite_ip4(skb, inner, r->source ? IP4_DESTINATION : IP4_SOURCE, r->from, r->to))
		return -1;
	if (r->from_port == r->to_port)
		return 0;
	return bpf_l4_csum_replace(skb, r->l4_off + ICMP_CHECKSUM, r->from_port, r->to_port,
				   sizeof(r->to_port)) ?:
	       bpf_skb_store_bytes(skb, port_off, &r->to_port, sizeof(r->to_port), 0);
}

/* Global, so that the verifier looks at it once and not at every packet's way through it;
 * of `r` it knows no more than that it is memory.
 */
__attribute__((noinline)) int nat_rewrite(struct __sk_buff *skb, struct rewrite *r)
{
	long rc;

	if (!r)
		return -1;
	rc = r->is_error ? rewrite_inner(skb, r) : rewrite_l4(skb, r);
	return rc || rewrite_ip4(skb, ETH_HLEN, r->source ? IP4_SOURCE : IP4_DESTINATION,
				 r->outer_from, r->to) ? -1 : 0;
}

/* SCTP's checksum changes by the whole's length, which a first fragment does not say; and
 * without that one the others are of no use.
 */
INLINE int rewrite(struct pkt *p, struct rewrite *r)
{
	if (p->fragment && p->t.proto == IPPROTO_SCTP && r->from_port != r->to_port)
		return DROP(p, DROP_UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE);
	r->l4_off = p->l4_off;
	r->inner_l4_off = p->inner_l4_off;
	r->l4_len = p->l4_len;
	r->proto = p->t.proto;
	r->inner_proto = p->inner.proto;
	r->fragment = p->fragment;
	r->is_error = p->is_error;
	return nat_rewrite(p->skb, r) ? DROP(p, DROP_ERROR_WRITING_TO_PACKET) : 0;
}

/* Also for an ICMP error: `port` is then that of the connection it speaks of. */
COLD int nat_rewrite_source(struct pkt *p, __be32 addr, __be16 port)
{
	struct tuple *t = p->is_error ? &p->inner : &p->t;
	struct rewrite r = { t->saddr.v4, addr, p->t.saddr.v4, t->sport, port, .source = true };

	TRY(rewrite(p, &r));
	p->t.saddr.v4 = addr;
	t->saddr.v4 = addr;
	t->sport = port;
	return 0;
}

COLD int nat_rewrite_destination(struct pkt *p, __be32 addr, __be16 port)
{
	struct tuple *t = p->is_error ? &p->inner : &p->t;
	struct rewrite r = { t->daddr.v4, addr, p->t.daddr.v4, t->dport, port, .source = false };

	TRY(rewrite(p, &r));
	p->t.daddr.v4 = addr;
	t->daddr.v4 = addr;
	t->dport = port;
	return 0;
}

#endif
