// SPDX-License-Identifier: Apache-2.0
/* One end of the policy matrix: runs in every pod, node and in the world, answers the others and asks them.
 *
 *   prober PORT...        serves TCP, UDP and SCTP on each port until stdin ends; commands come on stdin:
 *     tcp|udp|sctp|icmp ADDRESS PORT    one more probe in the list; no answer
 *     forget                            empties the list; no answer
 *     go                                runs the whole list at once; answers one line, a 1 or 0 per probe
 *     live ADDRESS PORT                 a TCP connection and a UDP flow on which both ends speak unasked; "ok"
 *     heard                             CLOCK_REALTIME seconds at which each was last heard: "<tcp> <udp>", 0 = never
 *     hush                              ends this end's part of them; "ok"
 *
 * A probe is a new connection each time (source ports, ICMP identifiers), so that no answer is an old one's. TCP counts
 * as reached when the other end's kernel answers, with a reset too. SCTP goes by raw sockets, an INIT and its INIT ACK,
 * because not every kernel has SCTP; its checksum is left 0, as nobody on the way looks at it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "live.h"

#define PROBES 512
#define WAIT 0.25	/* seconds that a denied probe takes */
#define AGAIN 0.1	/* seconds after which datagrams are sent once more: a busy machine loses some */
#define TICK_MS 10	/* how often the ends of a live connection speak */

enum proto { TCP, UDP, SCTP, ICMP };
static const char *const names[] = {"tcp", "udp", "sctp", "icmp"};

struct sctp {
	uint16_t sport, dport;
	uint32_t tag, checksum;
	uint8_t type, flags;
	uint16_t length;
	uint32_t init_tag, window;
	uint16_t out, in;
	uint32_t tsn;
} __attribute__((packed));

enum { SCTP_INIT = 1, SCTP_INIT_ACK = 2 };

struct probe {
	enum proto proto;
	struct sockaddr_in to;
	uint16_t id;	/* SCTP: source port; ICMP: identifier */
	int fd;		/* TCP, UDP */
	int reached;
};

enum kind { COMMANDS, LISTENER, DATAGRAMS, ACCEPTED, RAW, PROBE };

static struct probe probes[PROBES];
static int count, ep, raw_sctp, raw_icmp, ports[8], port_count;
static uint16_t fresh;	/* the next id of a probe */

static void watch(int fd, enum kind kind, uint32_t value, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = (uint64_t)kind << 32 | value};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		die("epoll_ctl");
}

static int raw(int protocol)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK, protocol);

	if (fd < 0)
		die("raw socket");
	return fd;
}

/* ---- the served side ---- */

static void serve(int type, int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (type == SOCK_DGRAM)
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 1024))
		die("listen");
	watch(fd, type == SOCK_STREAM ? LISTENER : DATAGRAMS, fd, EPOLLIN);
}

/* A probe's datagram is answered, from the very address that it went to: a node has several. A live one makes its
 * sender the peer to speak to.
 */
static void datagrams(int fd)
{
	char byte, control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct sockaddr_in from;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};

	if (recvmsg(fd, &m, 0) != 1)
		return;
	if (byte == 'L') {
		live[1] = (struct flow){fd, from};
		heard[1] = now(CLOCK_REALTIME);
		return;
	}
	((struct in_pktinfo *)CMSG_DATA(CMSG_FIRSTHDR(&m)))->ipi_ifindex = 0;	/* the answer may leave elsewhere */
	sendmsg(fd, &m, 0);
}

static void accepted(int fd)
{
	char byte[64];
	ssize_t n = read(fd, byte, sizeof(byte));

	if (n > 0 && byte[0] == 'L') {
		live[0] = (struct flow){.fd = fd};
		heard[0] = now(CLOCK_REALTIME);
	} else if (n == 0 || (n < 0 && errno != EAGAIN)) {
		if (live[0].fd == fd)
			live[0].fd = -1;
		close(fd);
	}
}

static int is_served(int port)
{
	for (int i = 0; i < port_count; i++)
		if (ports[i] == port)
			return 1;
	return 0;
}

static void send_sctp(struct sockaddr_in to, int sport, int dport, uint8_t type, uint32_t tag)
{
	struct sctp packet = {
		.sport = htons(sport), .dport = htons(dport), .tag = tag, .type = type, .length = htons(20),
		.init_tag = htonl(0x5e7a), .window = htonl(65535), .out = htons(1), .in = htons(1),
	};

	to.sin_port = 0;
	sendto(raw_sctp, &packet, sizeof(packet), 0, (void *)&to, sizeof(to));
}

/* An INIT to a served port is answered; an INIT ACK belongs to one of our probes. */
static void hear_sctp(void)
{
	unsigned char data[2048];
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(raw_sctp, data, sizeof(data), 0, (void *)&from, &size)) > 0) {
		size_t head = (data[0] & 15) * 4;
		struct sctp *s = (void *)(data + head);

		if (n < (ssize_t)(head + sizeof(*s)))
			continue;
		if (s->type == SCTP_INIT && is_served(ntohs(s->dport)))
			send_sctp(from, ntohs(s->dport), ntohs(s->sport), SCTP_INIT_ACK, s->init_tag);
		for (int i = 0; s->type == SCTP_INIT_ACK && i < count; i++)
			if (probes[i].proto == SCTP && probes[i].id == ntohs(s->dport) &&
			    probes[i].to.sin_addr.s_addr == from.sin_addr.s_addr)
				probes[i].reached = 1;
	}
}

/* ---- the asking side ---- */

static uint16_t checksum(const uint16_t *words, int n)
{
	uint32_t sum = 0;

	while (n--)
		sum += *words++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static void ask_icmp(const struct probe *p)
{
	struct icmphdr echo = {.type = ICMP_ECHO, .un.echo.id = htons(p->id)};

	echo.checksum = checksum((void *)&echo, sizeof(echo) / 2);
	sendto(raw_icmp, &echo, sizeof(echo), 0, (void *)&p->to, sizeof(p->to));
}

static void hear_icmp(void)
{
	unsigned char data[2048];
	ssize_t n;

	while ((n = recv(raw_icmp, data, sizeof(data), 0)) > 0) {
		struct icmphdr *echo = (void *)(data + (data[0] & 15) * 4);

		for (int i = 0; echo->type == ICMP_ECHOREPLY && i < count; i++)
			if (probes[i].proto == ICMP && probes[i].id == ntohs(echo->un.echo.id))
				probes[i].reached = 1;
	}
}

static void open_probe(struct probe *p)
{
	int type = p->proto == TCP ? SOCK_STREAM : SOCK_DGRAM;

	p->fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		die("socket");
	connect(p->fd, (void *)&p->to, sizeof(p->to));
	watch(p->fd, PROBE, p - probes, p->proto == TCP ? EPOLLOUT : EPOLLIN);
}

static void ask(struct probe *p)
{
	if (p->proto == UDP)
		send(p->fd, "P", 1, MSG_DONTWAIT);
	else if (p->proto == SCTP)
		send_sctp(p->to, p->id, ntohs(p->to.sin_port), SCTP_INIT, 0);
	else if (p->proto == ICMP)
		ask_icmp(p);
}

static void begin(struct probe *p)
{
	p->reached = 0;
	fresh = fresh % 32768 + 1;
	p->id = 16384 + fresh;
	if (p->proto <= UDP)
		open_probe(p);
	ask(p);
}

/* A refusal by the other end's kernel is an answer, too. */
static void answered(struct probe *p)
{
	int error = 0;
	socklen_t size = sizeof(error);
	char byte;

	if (p->proto == UDP) {
		p->reached |= recv(p->fd, &byte, 1, 0) == 1 || errno == ECONNREFUSED;
		return;
	}
	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	p->reached = error == 0 || error == ECONNREFUSED;
	epoll_ctl(ep, EPOLL_CTL_DEL, p->fd, NULL);
}

static void finish(struct probe *p)
{
	struct linger reset = {.l_onoff = 1};

	if (p->proto > UDP)
		return;
	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(p->fd);
}

/* ---- the loop ---- */

static void step(int timeout_ms);

static void go(void)
{
	double start = now(CLOCK_MONOTONIC), end = start + WAIT, t = start;
	int left = 1, repeated = 0;

	for (int i = 0; i < count; i++)
		begin(&probes[i]);
	while (left && t < end) {
		step(5);
		t = now(CLOCK_MONOTONIC);
		left = 0;
		for (int i = 0; i < count; i++) {
			left |= !probes[i].reached;
			if (!repeated && t - start > AGAIN && !probes[i].reached)
				ask(&probes[i]);
		}
		repeated |= t - start > AGAIN;
	}
	for (int i = 0; i < count; i++) {
		finish(&probes[i]);
		putchar('0' + probes[i].reached);
	}
	puts("");
}

static void obey(char *line)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char word[8] = "", host[32] = "";
	int port = 0;

	sscanf(line, "%7s %31s %d", word, host, &port);
	inet_pton(AF_INET, host, &to.sin_addr);
	to.sin_port = htons(port);
	if (!strcmp(word, "go"))
		return go();
	if (!strcmp(word, "heard")) {
		printf("%.6f %.6f\n", heard[0], heard[1]);
		return;
	}
	if (!strcmp(word, "live") || !strcmp(word, "hush")) {
		hush();
		if (!strcmp(word, "live"))
			go_live(to);
		puts("ok");
		return;
	}
	if (!strcmp(word, "forget")) {
		count = 0;
		return;
	}
	for (enum proto p = TCP; p <= ICMP; p++)
		if (!strcmp(word, names[p]) && count < PROBES) {
			probes[count++] = (struct probe){.proto = p, .to = to, .fd = -1};
			return;
		}
	errno = EINVAL;
	die(line);
}

/* Whole lines from stdin; its end is the end. */
static void commands(void)
{
	static char text[65536];
	static size_t have;
	ssize_t n = read(0, text + have, sizeof(text) - 1 - have);
	char *line = text, *end;

	if (n <= 0)
		exit(0);
	have += n;
	text[have] = 0;
	while ((end = strchr(line, '\n'))) {
		*end = 0;
		obey(line);
		line = end + 1;
	}
	have -= line - text;
	memmove(text, line, have);
}

static void step(int timeout_ms)
{
	struct epoll_event events[64];
	int n = epoll_wait(ep, events, 64, timeout_ms);

	for (int i = 0; i < n; i++) {
		uint32_t value = (uint32_t)events[i].data.u64;
		int fd = value, one;

		switch (events[i].data.u64 >> 32) {
		case LISTENER:
			while ((one = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
				watch(one, ACCEPTED, one, EPOLLIN);
			break;
		case DATAGRAMS:
			datagrams(fd);
			break;
		case ACCEPTED:
			accepted(fd);
			break;
		case RAW:
			hear_sctp();
			hear_icmp();
			break;
		case PROBE:
			answered(&probes[value]);
		}
	}
}

int main(int argc, char **argv)
{
	double spoken = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ep = epoll_create1(0);
	raw_sctp = raw(132);
	raw_icmp = raw(IPPROTO_ICMP);
	fresh = time(NULL) * 977 % 32768;
	watch(raw_sctp, RAW, 0, EPOLLIN);
	watch(raw_icmp, RAW, 0, EPOLLIN);
	for (int i = 1; i < argc && port_count < 8; i++) {
		ports[port_count++] = atoi(argv[i]);
		serve(SOCK_STREAM, atoi(argv[i]));
		serve(SOCK_DGRAM, atoi(argv[i]));
	}
	unlink(argv[0]);	/* whoever put it here leaves nothing behind */
	puts("ready");
	for (;;) {
		struct pollfd in[] = {{.fd = 0, .events = POLLIN}, {.fd = ep, .events = POLLIN}};
		int flows = live[0].fd >= 0 || live[1].fd >= 0;

		poll(in, 2, flows ? TICK_MS : -1);
		step(0);
		if (in[0].revents)
			commands();
		if (flows && now(CLOCK_MONOTONIC) - spoken > TICK_MS / 1000.0) {
			speak();
			spoken = now(CLOCK_MONOTONIC);
		}
	}
}
