/*
 * Zones and poison: bytes that nobody should write, and looking whether
 * somebody did.
 *
 * Beside each object of a cache with KMD_REDZONE lie bytes of a known value.
 * Those behind it begin where what was asked for ends, which is before the
 * end of the heap's class; how much that was stands in the trail, at the
 * stride's end, together with the records of KMD_AUDIT.  Who runs over the
 * whole zone changes the trail: it is checked against its own code, and an
 * end that cannot be believed counts as damage.
 *
 * Nothing here locks or allocates: an object is looked at by who has it.
 */
#include <vm/kmem_debug_impl.h>

#define TRAIL_CODE	0x5AFE70F5u	/* t_check is t_size with these bits */

#define TRAIL_SHORT	offsetof(struct kmem_trail, t_record)

static size_t
trail_size(unsigned kmd)
{
	if (kmd & KMD_AUDIT)
		return sizeof(struct kmem_trail);
	return kmd & KMD_REDZONE ? TRAIL_SHORT : 0;
}

size_t
kmem_debug_stride(unsigned kmd, size_t size, size_t align, size_t *obj_off)
{
	const size_t word = sizeof(unsigned long);
	size_t n = size;

	*obj_off = 0;
	if (kmd & KMD_REDZONE) {
		if (align <= KMD_ZONE_ALIGN)
			*obj_off = roundup2((size_t)KMD_ZONE, align);
		n += KMD_ZONE;
	}
	n = roundup2(*obj_off + n, word) + trail_size(kmd);
	return roundup2(n, align);
}

struct kmem_trail *
kmem_trail(const struct kmem_cache *kc, const void *obj)
{
	const size_t n = trail_size(kc->kc_debug);

	if (n == 0)
		return NULL;
	return (struct kmem_trail *)((uintptr_t)obj - kc->kc_obj_off +
	    kc->kc_stride - n);
}

size_t
kmem_trail_size(const struct kmem_cache *kc, const void *obj)
{
	const struct kmem_trail *t = kmem_trail(kc, obj);

	return t == NULL || (t->t_size ^ t->t_check) != TRAIL_CODE ?
	    kc->kc_size : t->t_size;
}

const struct kmem_record *
kmem_trail_records(const struct kmem_cache *kc, const void *obj)
{
	return kc->kc_debug & KMD_AUDIT ? kmem_trail(kc, obj)->t_record : NULL;
}

void
kmem_zones_write(const struct kmem_cache *kc, void *obj, size_t size)
{
	struct kmem_trail *t = kmem_trail(kc, obj);
	char *p = obj;

	if (t == NULL)
		return;
	t->t_size = (uint32_t)size;
	t->t_check = (uint32_t)size ^ TRAIL_CODE;
	if (!(kc->kc_debug & KMD_REDZONE))
		return;
	memset(p - kc->kc_obj_off, KMD_BYTE_ZONE, kc->kc_obj_off);
	memset(p + size, KMD_BYTE_ZONE, (size_t)((char *)t - (p + size)));
}

/* A word, wherever it begins: these processors read it there, too. */
struct any_word {
	unsigned long	 w;
} __attribute__((__packed__, __may_alias__));

/* Nearly always they are: a word at a time. */
static bool
all_so(const uint8_t *p, size_t n, uint8_t byte)
{
	const unsigned long word = ~0ul / 255 * byte;

	for (; n >= sizeof(word); p += sizeof(word), n -= sizeof(word))
		if (((const struct any_word *)p)->w != word)
			return false;
	for (; n > 0; p++, n--)
		if (*p != byte)
			return false;
	return true;
}

bool
kmem_bytes_sound(const void *ptr, size_t n, uint8_t byte,
    struct kmem_damage *d)
{
	const uint8_t *p = ptr;
	size_t i, first = n, count = 0;

	if (all_so(p, n, byte))
		return true;
	for (i = 0; i < n; i++) {
		if (p[i] == byte)
			continue;
		if (count++ == 0)
			first = i;
	}
	d->d_distance = first;
	d->d_found = p[first];
	d->d_want = byte;
	d->d_count = count;
	return false;
}

/* The zone before: distances count from the object downwards. */
static bool
front_sound(const struct kmem_cache *kc, const char *obj,
    struct kmem_damage *d)
{
	size_t i = 1;

	if (kmem_bytes_sound(obj - kc->kc_obj_off, kc->kc_obj_off,
	    KMD_BYTE_ZONE, d))
		return true;
	while ((uint8_t)obj[-(ptrdiff_t)i] == KMD_BYTE_ZONE)
		i++;
	d->d_where = "before its begin";
	d->d_distance = i;
	d->d_found = (uint8_t)obj[-(ptrdiff_t)i];
	return false;
}

bool
kmem_zones_sound(const struct kmem_cache *kc, const void *obj,
    struct kmem_damage *d)
{
	const struct kmem_trail *t = kmem_trail(kc, obj);
	const char *p = obj, *end;
	size_t size;
	bool broken;

	if (!(kc->kc_debug & KMD_REDZONE))
		return true;
	if (!front_sound(kc, p, d))
		return false;
	d->d_where = "behind its end";
	broken = (t->t_size ^ t->t_check) != TRAIL_CODE ||
	    t->t_size > kc->kc_size;
	size = broken ? kc->kc_size : t->t_size;
	end = (const char *)t;
	if (!kmem_bytes_sound(p + size, (size_t)(end - (p + size)),
	    KMD_BYTE_ZONE, d))
		return false;
	if (!broken)
		return true;
	/* Written behind the zone, and not in it. */
	d->d_distance = (size_t)(end - (p + size));
	d->d_found = *(const uint8_t *)end;
	d->d_want = (uint8_t)size;
	d->d_count = TRAIL_SHORT;
	return false;
}
