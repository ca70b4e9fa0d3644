// What holds a pod's namespaces open. Stand-in for registry.k8s.io/pause where no registry is reachable.
// It ends at once when asked to, and reaps whatever is left to it where a pod shares its PID namespace.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number) { (void)number; _exit(0); }

static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }

int main(void)
{
	signal(SIGINT, end);
	signal(SIGTERM, end);
	signal(SIGCHLD, reap);
	for (;;)
		pause();
}
