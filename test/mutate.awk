# Address and bytes of each conditional jump, function and file:line, as
#	11a6 74 05	tell_max	sys/vm/vm_map_space.c:140
# to a line for each mutant: number, offset, new bytes, kind, function,
# file:line.

function hex(s,    i, v) {
	v = 0
	s = tolower(s)
	for (i = 1; i <= length(s); i++)
		v = 16 * v + index("0123456789abcdef", substr(s, i, 1)) - 1
	return v
}

function octal(v) { return sprintf("-%03o", v) }

# The opposite condition is one bit away.
function inverse(s) {
	v = hex(s)
	return v % 2 ? v - 1 : v + 1
}

function mutate(kind,    near, s, i) {
	near = byte[1] == "0f"
	if (kind == "invert") {
		s = octal(inverse(byte[near + 1]))
		if (near)
			s = octal(15) s
	} else if (kind == "drop") {
		for (i = 1; i <= n; i++)
			s = s octal(144)		# nop
	} else if (kind == "always") {
		s = near ? octal(144) octal(233) : octal(235)	# jmp
	}
	print ++id, hex(address), substr(s, 2), kind, where
}

{
	n = split($0, field, "\t")
	where = field[n - 1] " " field[n]
	n = split(field[1], byte, " ") - 1
	address = byte[1]
	for (i = 1; i <= n; i++)
		byte[i] = byte[i + 1]
}
where !~ /sys\// { next }
(++jumps - 1) % sample == 0 {
	k = split(kinds, kind, " ")
	for (i = 1; i <= k; i++)
		mutate(kind[i])
}
