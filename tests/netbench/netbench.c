// SPDX-License-Identifier: Apache-2.0
/* Load for the benchmarks: one static binary that runs in any pod.
 *
 *   netbench serve PORT CPU                      TCP echo on PORT, TCP sink on PORT+1, UDP echo on PORT
 *   netbench rr|crr|connect|stream HOST PORT SECONDS CPU
 *   netbench watch HOST PORT SECONDS             UDP echo every millisecond; prints when answers stop and start
 *   netbench visit tcp|udp HOST PORT SECONDS PER_SECOND PATIENCE     a socket each; see visit.c
 *
 * rr, crr and connect print transactions per second, stream prints Gbit/s, watch prints lines
 * "<ok|lost> <CLOCK_REALTIME seconds of the probe that changed>", and how many were sent and lost on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "visit.h"

#define CHUNK (128 * 1024)
#define PROBES (600 * 1000)

static char chunk[CHUNK];

static void die(const char *what)
{
	fprintf(stderr, "netbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

static struct sockaddr_in address(const char *host, int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
		die(host);
	return to;
}

static int tcp_connect(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (const void *)to, sizeof(*to)))
		die("connect");
	return fd;
}

/* ---- server ---- */

enum kind { LISTEN_ECHO, LISTEN_SINK, UDP_ECHO, ECHO, SINK };

static void watch_fd(int ep, int fd, enum kind kind)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | (uint32_t)fd};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		die("epoll_ctl");
}

static int bound(int type, int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 4096))
		die("listen");
	return fd;
}

static void answer(int ep, int fd, enum kind kind)
{
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	ssize_t n;
	int on = 1;

	switch (kind) {
	case LISTEN_ECHO:
	case LISTEN_SINK:
		fd = accept(fd, NULL, NULL);
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		watch_fd(ep, fd, kind == LISTEN_ECHO ? ECHO : SINK);
		return;
	case UDP_ECHO:
		n = recvfrom(fd, chunk, CHUNK, 0, (void *)&peer, &size);
		if (n >= 0)
			sendto(fd, chunk, n, 0, (void *)&peer, size);
		return;
	default:
		n = read(fd, chunk, CHUNK);
		if (n <= 0 || (kind == ECHO && write(fd, chunk, n) != n))
			close(fd);
	}
}

static void serve(int port)
{
	struct epoll_event events[64];
	int ep = epoll_create1(0);

	watch_fd(ep, bound(SOCK_STREAM, port), LISTEN_ECHO);
	watch_fd(ep, bound(SOCK_STREAM, port + 1), LISTEN_SINK);
	watch_fd(ep, bound(SOCK_DGRAM, port), UDP_ECHO);
	for (;;) {
		int n = epoll_wait(ep, events, 64, -1);

		for (int i = 0; i < n; i++)
			answer(ep, (int)(uint32_t)events[i].data.u64, events[i].data.u64 >> 32);
	}
}

/* ---- clients ---- */

static void ping(int fd)
{
	char byte = 1;

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("echo");
}

static double transactions(const char *mode, const struct sockaddr_in *to, double seconds)
{
	double begin = now(CLOCK_MONOTONIC), end = begin + seconds, t;
	struct linger reset = {.l_onoff = 1};
	int rr = !strcmp(mode, "rr"), fd = rr ? tcp_connect(to) : -1;
	uint64_t count = 0;

	do {
		if (!rr)
			fd = tcp_connect(to);
		if (strcmp(mode, "connect"))
			ping(fd);
		if (!rr) {
			/* A reset keeps TIME_WAIT from using up the client's ports. */
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			close(fd);
		}
		count++;
		t = now(CLOCK_MONOTONIC);
	} while (t < end);
	return count / (t - begin);
}

static double stream(const struct sockaddr_in *to, double seconds)
{
	double begin = now(CLOCK_MONOTONIC), end = begin + seconds, t;
	int fd = tcp_connect(to);
	uint64_t bytes = 0;

	do {
		ssize_t n = write(fd, chunk, CHUNK);

		if (n < 0)
			die("write");
		bytes += n;
		t = now(CLOCK_MONOTONIC);
	} while (t < end);
	return bytes * 8 / (t - begin) / 1e9;
}

static void drain(int fd, uint8_t *answered)
{
	uint32_t seq;

	while (recv(fd, &seq, sizeof(seq), MSG_DONTWAIT) == sizeof(seq))
		if (seq < PROBES)
			answered[seq] = 1;
}

static void watch(const struct sockaddr_in *to, double seconds)
{
	static double sent[PROBES];
	static uint8_t answered[PROBES];
	uint32_t total = seconds * 1000, seq, probes = 0, lost = 0;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), last = -1;
	double next = now(CLOCK_MONOTONIC);

	if (total > PROBES)
		total = PROBES;
	if (connect(fd, (const void *)to, sizeof(*to)))
		die("connect");
	for (seq = 0; seq < total; seq++) {
		struct timespec until = {.tv_sec = (time_t)next, .tv_nsec = (long)((next - (time_t)next) * 1e9)};

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		next += 0.001;
		/* A prober that was not scheduled skips: a burst would only measure socket buffers. */
		if (now(CLOCK_MONOTONIC) > next)
			continue;
		sent[seq] = now(CLOCK_REALTIME);
		if (send(fd, &seq, sizeof(seq), 0) < 0 && errno != ECONNREFUSED && errno != EPERM)
			die("send");
		drain(fd, answered);
	}
	usleep(200 * 1000);
	drain(fd, answered);
	for (seq = 0; seq < total; seq++) {
		if (!sent[seq])
			continue;
		if (answered[seq] != last)
			printf("%s %.6f\n", answered[seq] ? "ok" : "lost", sent[seq]);
		last = answered[seq];
		probes++;
		lost += !answered[seq];
	}
	fprintf(stderr, "%u sent, %u lost\n", probes, lost);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && !strcmp(argv[1], "serve")) {
		pin(atoi(argv[3]));
		serve(atoi(argv[2]));
	}
	if (argc == 8 && !strcmp(argv[1], "visit")) {
		to = address(argv[3], atoi(argv[4]));
		visit(strcmp(argv[2], "udp") ? SOCK_STREAM : SOCK_DGRAM, &to, atof(argv[5]), atof(argv[6]), atof(argv[7]));
		return 0;
	}
	if (argc < 5) {
		fprintf(stderr, "usage: netbench serve PORT CPU | rr|crr|connect|stream HOST PORT SECONDS CPU |"
				" watch HOST PORT SECONDS | visit tcp|udp HOST PORT SECONDS PER_SECOND PATIENCE\n");
		return 2;
	}
	to = address(argv[2], atoi(argv[3]));
	if (!strcmp(argv[1], "watch")) {
		watch(&to, atof(argv[4]));
		return 0;
	}
	pin(argc > 5 ? atoi(argv[5]) : 1);
	printf("%.3f\n", !strcmp(argv[1], "stream") ? stream(&to, atof(argv[4])) : transactions(argv[1], &to, atof(argv[4])));
	return 0;
}
