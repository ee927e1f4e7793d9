/*
 * The CPUs of the host machine (machine/vmcpu.h): numbers for threads, and
 * the slow ways in.
 *
 * Number 0 is everybody's who has none: a thread begins there, told to stop,
 * so that whoever asks first lands in host_cpu_wait and gets a number.
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

#if defined(__SANITIZE_THREAD__)
#define SANITIZED	true
#else
#define SANITIZED	false
#endif

__thread struct host_cpu host_cpu = { .hc_quick = VM_NCPU };

/* A number: who has it, and who is inside where that has to be settled. */
static struct number {
	unsigned	 n_lock;
	struct host_cpu	*n_thread;	/* NULL: nobody, or several (0) */
} numbers[VM_NCPU];

static __thread bool attached, holds;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool locked;		/* each number has a lock */

static void
lock(unsigned cpu)
{
	while (__atomic_exchange_n(&numbers[cpu].n_lock, 1,
	    __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

static void
unlock(unsigned cpu)
{
	__atomic_store_n(&numbers[cpu].n_lock, 0, __ATOMIC_RELEASE);
}

/* The thread ends; its number is for another one. */
static void
detach(void *arg)
{
	const unsigned cpu = host_cpu.hc_number;

	lock(cpu);
	numbers[cpu].n_thread = NULL;
	unlock(cpu);
	host_cpu.hc_number = 0;
	host_cpu.hc_quick = VM_NCPU;
}

static void
begin(void)
{
	pthread_key_create(&key, detach);
	locked = SANITIZED || syscall(SYS_membarrier,
	    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
}

/* Is this number free?  Then it is ours. */
static bool
take(unsigned cpu)
{
	bool mine;

	lock(cpu);
	mine = numbers[cpu].n_thread == NULL;
	if (mine) {
		numbers[cpu].n_thread = &host_cpu;
		host_cpu.hc_number = cpu;
		host_cpu.hc_quick = locked ? VM_NCPU : cpu;
		pthread_setspecific(key, &host_cpu);
	}
	unlock(cpu);
	return mine;
}

/* A number for this thread, or the shared one. */
static void
attach(void)
{
	unsigned i;

	pthread_once(&once, begin);
	attached = true;
	for (i = 1; i < VM_NCPU && !take(i); i++)
		continue;
}

/* Somebody says stop: the way in that may have to wait. */
unsigned
host_cpu_wait(uintptr_t *state)
{
	if (!attached)
		attach();
	lock(host_cpu.hc_number);
	holds = true;
	*state = 1;
	return host_cpu.hc_number;
}

void
host_cpu_leave(unsigned cpu)
{
	holds = false;
	unlock(cpu);
}

/* A panic was caught: let go of what this thread was in. */
void
host_cpu_unwind(void)
{
	if (holds)
		host_cpu_leave(host_cpu.hc_number);
	__atomic_store_n(&host_cpu.hc_busy, 0, __ATOMIC_RELEASE);
}

void
vm_cpu_enter_other(unsigned cpu, uintptr_t *state)
{
	struct host_cpu *hc;

	pthread_once(&once, begin);
	lock(cpu);
	*state = 0;
	hc = numbers[cpu].n_thread;
	if (hc == NULL || locked)
		return;
	__atomic_store_n(&hc->hc_quick, VM_NCPU, __ATOMIC_SEQ_CST);
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	while (__atomic_load_n(&hc->hc_busy, __ATOMIC_ACQUIRE) != 0)
		sched_yield();
}

void
vm_cpu_exit_other(unsigned cpu, uintptr_t state)
{
	struct host_cpu *hc = numbers[cpu].n_thread;

	if (hc != NULL && !locked)
		__atomic_store_n(&hc->hc_quick, cpu, __ATOMIC_RELEASE);
	unlock(cpu);
}
