/*
 * Error numbers.  The values are those of 4.4BSD where it and Linux agree, so
 * that a host program may include its own <errno.h> as well.
 */
#ifndef LIBKERN_ERRNO_H
#define LIBKERN_ERRNO_H

#ifndef ENOENT
#define ENOENT	2	/* no such entry */
#define EAGAIN	11	/* try again: something is busy for a moment */
#define ENOMEM	12	/* out of frames, entries, or address space */
#define EACCES	13	/* protection forbids it */
#define EFAULT	14	/* nothing is mapped there */
#define EBUSY	16	/* in use (wired, or still populated) */
#define EEXIST	17	/* the range is already taken */
#define EINVAL	22	/* the arguments make no sense */
#endif

#endif
