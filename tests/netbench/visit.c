// SPDX-License-Identifier: Apache-2.0
/* Visits at a steady pace: each a socket of its own, connected, one byte sent, and the answer's byte awaited.
 *
 * Unlike crr it does not end with the first failure and never waits for a late one before it begins the next, so that it
 * tells both that nothing failed under change and for how long everything did. Prints, in the order of their beginning,
 * a line for the first visit and for each whose fate differs from the one before,
 *
 *   ok|lost CLOCK_REALTIME [reason]
 *
 * (when a lost one began, when a good one was answered) and at last, which SIGINT makes now, "N visits, M lost, slowest
 * X ms" (the slowest of those that were answered).
 */
#define _GNU_SOURCE
#include "visit.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 200000
#define RUNNING -1

struct one {
	double begun;	/* CLOCK_MONOTONIC */
	double wall;	/* the same moment, CLOCK_REALTIME */
	double took;
	int fd, asked;
	int fate;	/* RUNNING, 0 when it was answered, else an errno */
};

static struct one visits[MOST];
static int ep;
static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void end(struct one *v, int fate)
{
	struct linger reset = {.l_onoff = 1};	/* TIME_WAIT would use up the ports */

	v->fate = fate;
	v->took = now(CLOCK_MONOTONIC) - v->begun;
	setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(v->fd);
}

static void ask(struct one *v)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = v};

	v->asked = 1;
	if (send(v->fd, "v", 1, MSG_NOSIGNAL) != 1)
		return end(v, errno);
	epoll_ctl(ep, EPOLL_CTL_MOD, v->fd, &ev);
}

static void begin(struct one *v, int type, const struct sockaddr_in *to)
{
	struct epoll_event ev = {.events = EPOLLOUT, .data.ptr = v};

	v->begun = now(CLOCK_MONOTONIC);
	v->wall = now(CLOCK_REALTIME);
	v->fate = RUNNING;
	v->fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
	if (v->fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, v->fd, &ev)) {
		perror("visit: socket");
		exit(1);
	}
	if (connect(v->fd, (const void *)to, sizeof(*to)) && errno != EINPROGRESS)
		end(v, errno);
}

static void go_on(struct one *v)
{
	int error = 0;
	socklen_t size = sizeof(error);
	char byte;
	ssize_t n;

	if (v->fate != RUNNING)
		return;
	getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error)
		return end(v, error);
	if (!v->asked)
		return ask(v);
	n = recv(v->fd, &byte, 1, 0);
	if (n == 1)
		end(v, 0);
	else if (n == 0 || errno != EAGAIN)
		end(v, n ? errno : ECONNRESET);
}

static void step(double until)
{
	struct epoll_event events[64];
	double left = until - now(CLOCK_MONOTONIC);
	int n = epoll_wait(ep, events, 64, left > 0 ? (int)(left * 1000) + 1 : 0);

	for (int i = 0; i < n; i++)
		go_on(events[i].data.ptr);
}

static void report(int count)
{
	double slowest = 0;
	int lost = 0, last = -1;

	for (int i = 0; i < count; i++) {
		const struct one *v = &visits[i];

		if (!v->fate && v->took > slowest)
			slowest = v->took;
		lost += v->fate != 0;
		if (v->fate != last)
			printf("%s %.6f %s\n", v->fate ? "lost" : "ok", v->fate ? v->wall : v->wall + v->took,
			       v->fate ? strerror(v->fate) : "");
		last = v->fate;
	}
	printf("%d visits, %d lost, slowest %.0f ms\n", count, lost, slowest * 1000);
}

void visit(int type, const struct sockaddr_in *to, double seconds, double per_second, double patience)
{
	double start = now(CLOCK_MONOTONIC), t = start;
	int count = 0, oldest = 0;

	ep = epoll_create1(0);
	signal(SIGINT, stop);
	while (t < start + seconds + patience) {
		double next = start + count / per_second;

		if (stopped && t < start + seconds)
			seconds = t - start;
		if (next >= start + seconds || count == MOST)
			next = start + seconds + patience;	/* no more: the last ones are waited for */
		else if (t >= next)
			begin(&visits[count++], type, to);
		while (oldest < count && (visits[oldest].fate != RUNNING || t - visits[oldest].begun > patience)) {
			if (visits[oldest].fate == RUNNING)
				end(&visits[oldest], ETIMEDOUT);
			oldest++;
		}
		if (t >= start + seconds && oldest == count)
			break;
		step(next < t + 0.05 ? next : t + 0.05);
		t = now(CLOCK_MONOTONIC);
	}
	for (; oldest < count; oldest++)
		if (visits[oldest].fate == RUNNING)
			end(&visits[oldest], ETIMEDOUT);
	report(count);
}
