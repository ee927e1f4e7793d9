/*
 * The host's CPUs: the twin of sys/i386/include/machine/vmcpu.h, where the
 * contract stands.
 *
 * A thread gets a number of its own when it first asks, and keeps it until it
 * ends; so nobody else is ever on "its CPU" but who drains it.  That one says
 * stop, has the kernel run a memory barrier on every processor
 * (membarrier(2)), and waits until the thread is outside: the thread itself
 * pays two stores and a load, and no atomic operation (biased locking; Dice,
 * Huang, Yang 2001, call it an asymmetric Dekker).
 *
 * Threads that find no number left share number 0, under a lock; where there
 * is no membarrier(2), or ThreadSanitizer has to see what happens, each number
 * has a lock (host_cpu.c).
 */
#ifndef MACHINE_VMCPU_H
#define MACHINE_VMCPU_H

#include <stdint.h>

#define VM_NCPU		15u
#define VM_NCPU_QUICK	(VM_NCPU + 1)
#define VM_CPU_ALIGN	64

struct host_cpu {
	unsigned hc_busy;	/* this thread is inside */
	unsigned hc_quick;	/* its number; VM_NCPU: stop, it has to ask
				   host_cpu_wait first */
	unsigned hc_number;	/* 0: none, or the shared one */
};

extern __thread struct host_cpu host_cpu;

unsigned host_cpu_wait(uintptr_t *state);
void	host_cpu_leave(unsigned cpu);
void	vm_cpu_enter_other(unsigned cpu, uintptr_t *state);
void	vm_cpu_exit_other(unsigned cpu, uintptr_t state);

static inline unsigned
vm_cpu_quick(uintptr_t *state)
{
	*state = 0;
	__atomic_store_n(&host_cpu.hc_busy, 1, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&host_cpu.hc_quick, __ATOMIC_ACQUIRE);
}

static inline void
vm_cpu_quick_exit(unsigned cpu, uintptr_t state)
{
	(void)cpu;
	(void)state;
	__atomic_store_n(&host_cpu.hc_busy, 0, __ATOMIC_RELEASE);
}

static inline unsigned
vm_cpu_enter(uintptr_t *state)
{
	const unsigned cpu = vm_cpu_quick(state);

	if (__builtin_expect(cpu != VM_NCPU, 1))
		return cpu;
	vm_cpu_quick_exit(cpu, 0);
	return host_cpu_wait(state);
}

static inline void
vm_cpu_exit(unsigned cpu, uintptr_t state)
{
	if (__builtin_expect(state != 0, 0))
		host_cpu_leave(cpu);
	else
		vm_cpu_quick_exit(cpu, state);
}

#endif
