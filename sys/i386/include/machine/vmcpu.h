/*
 * The CPU that runs this, kept to oneself: from vm_cpu_enter to vm_cpu_exit
 * nothing else runs on it, so that what belongs to a CPU needs no lock.
 * sys/vm asks for it inline, as it is on the way of each object that is
 * allocated; the contract for other machines stands here.
 *
 * vm_cpu_enter(&state)		=> this CPU's number, below VM_NCPU
 *				=> does not nest; no lock is taken or dropped
 *				   that was not taken within; never sleeps
 * vm_cpu_exit(cpu, state)	to what was before
 * vm_cpu_quick(&state)		as enter, where that is a matter of a few
 *				instructions: else VM_NCPU, and nothing is held
 *				=> below VM_NCPU_QUICK in any case.  An array
 *				   of so many may be looked at without asking,
 *				   if nobody's, at VM_NCPU, is like an empty
 *				   one; here there is none
 * vm_cpu_quick_exit(cpu, state)	after either
 * vm_cpu_enter_other(cpu)	the same for any CPU: nothing runs on it
 * vm_cpu_exit_other(cpu, state)	between enter and exit.  Not while one's
 *				own is held.
 *
 * One CPU here: interrupts are masked.
 */
#ifndef MACHINE_VMCPU_H
#define MACHINE_VMCPU_H

#include <machine/cpufunc.h>

#define VM_NCPU		1u
#define VM_NCPU_QUICK	1u
#define VM_CPU_ALIGN	4

static inline unsigned
vm_cpu_enter(uintptr_t *state)
{
	*state = read_eflags();
	cli();
	return 0;
}

static inline void
vm_cpu_exit(unsigned cpu, uintptr_t state)
{
	(void)cpu;
	if (state & EFLAGS_IF)
		sti();
}

static inline unsigned
vm_cpu_quick(uintptr_t *state)
{
	return vm_cpu_enter(state);
}

static inline void
vm_cpu_quick_exit(unsigned cpu, uintptr_t state)
{
	vm_cpu_exit(cpu, state);
}

static inline void
vm_cpu_enter_other(unsigned cpu, uintptr_t *state)
{
	(void)cpu;
	vm_cpu_enter(state);
}

static inline void
vm_cpu_exit_other(unsigned cpu, uintptr_t state)
{
	vm_cpu_exit(cpu, state);
}

#endif
