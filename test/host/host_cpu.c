/*
 * The CPUs of the host machine (machine/vmcpu.h): numbers for threads, and
 * the slow ways in.
 *
 * Number 0 is everybody's who has none: hc_stop is always set there, so that
 * whoever comes first lands in host_cpu_wait and gets one.
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <machine/vmcpu.h>

#include "host.h"

struct host_cpu host_cpus[VM_NCPU] = { [0] = { .hc_stop = 1 } };
__thread unsigned host_cpu_self;
static __thread bool attached, holds;
static __thread unsigned held;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool locked;		/* each number has a lock */

static void
lock(struct host_cpu *hc)
{
	while (__atomic_exchange_n(&hc->hc_lock, 1, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

static void
unlock(struct host_cpu *hc)
{
	__atomic_store_n(&hc->hc_lock, 0, __ATOMIC_RELEASE);
}

/* The thread ends; its number is for another one. */
static void
detach(void *cpu)
{
	host_cpu_self = 0;
	__atomic_store_n(&((struct host_cpu *)cpu)->hc_used, 0,
	    __ATOMIC_RELEASE);
}

static void
begin(void)
{
	pthread_key_create(&key, detach);
#if defined(__SANITIZE_THREAD__)
	locked = true;
#else
	locked = syscall(SYS_membarrier,
	    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
#endif
	for (unsigned i = 1; i < VM_NCPU; i++)
		host_cpus[i].hc_stop = locked;
}

/* A number for this thread, or the shared one. */
static void
attach(void)
{
	unsigned i;

	pthread_once(&once, begin);
	attached = true;
	for (i = 1; i < VM_NCPU; i++)
		if (__atomic_exchange_n(&host_cpus[i].hc_used, 1,
		    __ATOMIC_ACQ_REL) == 0)
			break;
	if (i == VM_NCPU)
		return;
	host_cpu_self = i;
	pthread_setspecific(key, &host_cpus[i]);
}

/* Somebody says stop: the way in that may have to wait. */
unsigned
host_cpu_wait(uintptr_t *state)
{
	struct host_cpu *hc = &host_cpus[host_cpu_self];

	__atomic_store_n(&hc->hc_busy, 0, __ATOMIC_RELEASE);
	if (!attached)
		attach();
	hc = &host_cpus[host_cpu_self];
	/* Locked: so it is until we leave.  Else only while we come in. */
	lock(hc);
	held = host_cpu_self;
	holds = true;
	*state = 1;
	return host_cpu_self;
}

void
host_cpu_leave(unsigned cpu)
{
	holds = false;
	unlock(&host_cpus[cpu]);
}

/* A panic was caught: let go of what this thread was in. */
void
host_cpu_unwind(void)
{
	if (holds)
		host_cpu_leave(held);
	__atomic_store_n(&host_cpus[host_cpu_self].hc_busy, 0,
	    __ATOMIC_RELEASE);
}

void
vm_cpu_enter_other(unsigned cpu, uintptr_t *state)
{
	struct host_cpu *hc = &host_cpus[cpu];

	pthread_once(&once, begin);
	lock(hc);
	*state = 0;
	if (cpu == 0 || locked)
		return;
	__atomic_store_n(&hc->hc_stop, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	while (__atomic_load_n(&hc->hc_busy, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

void
vm_cpu_exit_other(unsigned cpu, uintptr_t state)
{
	struct host_cpu *hc = &host_cpus[cpu];

	if (cpu != 0 && !locked)
		__atomic_store_n(&hc->hc_stop, 0, __ATOMIC_RELEASE);
	unlock(hc);
}
