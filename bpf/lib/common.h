/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every other header stands on: kernel types, helpers, and the one address
 * type that both families share.
 *
 * UAPI headers, not vmlinux.h: packet programs need no CO-RE relocation, and one
 * relocation makes libbpf parse the kernel's BTF (14 ms per object instead of 1).
 */
#ifndef SETA_COMMON_H
#define SETA_COMMON_H

#include <stdbool.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define INLINE static __always_inline
/* A subprogram of its own: verified where it is called, compiled once. For what is
 * rare on the packet's way, so that the common way stays short.
 */
#define COLD static __noinline __attribute__((unused))

#define AF_INET 2		/* the headers with it bring all of the C library's types */
#define NSEC_PER_SEC 1000000000ULL

#ifndef memcpy
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#endif

/* Address families as the maps write them. */
enum family {
	FAMILY_NONE = 0,
	FAMILY_V4 = 1,
	FAMILY_V6 = 2,
};

/* An address of either family, network order. IPv4 lies in the first four bytes and
 * the other twelve are zero, so that it can be part of any key.
 */
union ip16 {
	__be32 v4;
	__u32 words[4];
	__u8 bytes[16];
};

INLINE bool ip16_is_zero(const union ip16 *ip)
{
	return !(ip->words[0] | ip->words[1] | ip->words[2] | ip->words[3]);
}

INLINE bool ip16_equal(const union ip16 *a, const union ip16 *b)
{
	return !((a->words[0] ^ b->words[0]) | (a->words[1] ^ b->words[1]) |
		 (a->words[2] ^ b->words[2]) | (a->words[3] ^ b->words[3]));
}

/* Identities with a meaning of their own; pods have 256 and above. */
enum reserved_identity {
	IDENTITY_UNKNOWN = 0,
	IDENTITY_HOST = 1,
	IDENTITY_WORLD = 2,
	IDENTITY_UNMANAGED = 3,
	IDENTITY_REMOTE_NODE = 6,
	IDENTITY_KUBE_APISERVER = 7,	/* a node that runs the API server */
};

#define IDENTITY_BITS 24			/* what a VNI can carry */
#define IDENTITY_CIDR_SCOPE 0x01000000u	/* prefixes outside the cluster that policies name */
#define IDENTITY_NODE_SCOPE 0x02000000u	/* nodes that policies tell apart */

/* Another node, however it is called. */
INLINE bool identity_is_node(__u32 identity)
{
	return identity == IDENTITY_REMOTE_NODE || identity == IDENTITY_KUBE_APISERVER ||
	       identity >> IDENTITY_BITS == IDENTITY_NODE_SCOPE >> IDENTITY_BITS;
}

#endif
