/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* SCTP's checksum after a port became another. It is a CRC over the whole packet (the
 * addresses are not in it), but a linear one: it changes by the CRC of the change alone,
 * which is zeros but for the ports, and that takes only the packet's length. Called by
 * nat_rewrite.h.
 */
#ifndef SETA_SCTP_H
#define SETA_SCTP_H

#include <stddef.h>

#include "common.h"
#include "parse.h"

/* Bits are coefficients, as CRC32c has them: the highest is that of x^0. */
#define SCTP_POLYNOMIAL 0x82f63b78

/* What n * 16^digit bytes of zero multiply a CRC by: x^(8 * n * 16^digit). */
static const __u32 sctp_powers[4][16] = {
	{
		0x80000000, 0x00800000, 0x00008000, 0x00000080, 0x82f63b78, 0xfbc3faf9, 0x8b277743, 0x52a0c93f,
		0x6ea2d55c, 0x1c08b7d6, 0xf56e0ef4, 0x34019664, 0xa66805eb, 0x7a1f6b24, 0xe75d06aa, 0xc94ec098,
	},
	{
		0x80000000, 0x18b8ea18, 0x510ac59a, 0xb2dea967, 0xb82be955, 0x36c41f1c, 0x19b29a35, 0xc9e90b9e,
		0xb8fdb1e7, 0xe55ef1f3, 0x1fe0b5c3, 0xe0553f1e, 0x18e4a304, 0x2b830011, 0x56993a31, 0x0246e2e6,
	},
	{
		0x80000000, 0x88e56f72, 0x74c360a4, 0x631bb273, 0xe4172b16, 0x71892b1b, 0x835305c9, 0x196b1eae,
		0x0d65762a, 0xafc81338, 0xb5a50ab7, 0xf373c3ac, 0x5f60970f, 0xd46d3063, 0x3a5275ea, 0x02331c01,
	},
	{
		0x80000000, 0x35d73a62, 0x28461564, 0x43eefc9f, 0xbf455269, 0x5edcdeb9, 0x65059450, 0x4e6f41a4,
		0xe2ea32dc, 0xf5b95b32, 0x695a4c87, 0xf204502c, 0x9a4f01b6, 0x941a0916, 0x4303cb97, 0x4c3d3d65,
	},
};

/* Without branches, of which the verifier would follow both ways; it also makes one of a
 * mask that is 0 or -1, so bits are multiplied by.
 */
INLINE __u32 sctp_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;
	int bit;

	for (bit = 31; bit >= 0; bit--) {
		product ^= (a >> bit & 1) * b;
		b = b >> 1 ^ (b & 1) * SCTP_POLYNOMIAL;
	}
	return product;
}

/* By what the checksum of a packet of `len` bytes changes, whose first four changed by
 * `word`. Global, so that the verifier looks at it once.
 */
__attribute__((noinline)) __u32 sctp_change(__u32 word, __u32 len)
{
	int digit;

	for (digit = 0; digit < 4; digit++)
		word = sctp_multiply(word, sctp_powers[digit][len >> 4 * digit & 15]);
	return word;
}

/* The checksum of the packet whose SCTP header is at `off`, with `len` bytes from there
 * on. 0 is left so: its sender's kernel has not computed it yet. (One that was computed
 * is 0 once in 2^32 packets; that one is lost, and sent again.)
 */
INLINE long sctp_rewrite_checksum(struct __sk_buff *skb, __u32 off, __u32 word, __u32 len)
{
	__u32 sum;

	off += offsetof(struct sctp_header, checksum);
	if (bpf_skb_load_bytes(skb, off, &sum, sizeof(sum)))
		return -1;
	if (!sum)
		return 0;
	sum ^= sctp_change(word, len);
	return bpf_skb_store_bytes(skb, off, &sum, sizeof(sum), BPF_F_RECOMPUTE_CSUM);
}

#endif
