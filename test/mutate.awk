# The table of test/mutate (group|sources|tests), and then, of one group, the
# address and bytes of each conditional jump, and its function and file:line,
# from the innermost inlined function to the one that the code stands in:
#	11a6 74 05	tell_max	sys/vm/vm_map_space.c:140	...
# to a line for each mutant: group:address:kind, line of the table, offset, new
# bytes, kind, function, file:line.

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
	print group ":" address ":" kind, line[file], hex(address),
	    substr(s, 2), kind, where
}

function owner(file,    base, best, f) {
	if (file ~ /c$/)
		return file in line ? file : ""
	base = file
	sub(/.*\//, "", base)
	best = ""
	for (f in line)
		if (index(base, stem[f]) == 1 &&
		    length(stem[f]) > length(stem[best]))
			best = f
	return best
}

FILENAME ~ /table$/ {
	split($0, part, "|")
	if (part[1] == group) {
		m = split(part[2], source, " ")
		for (i = 1; i <= m; i++) {
			file = "sys/" source[i] ".c"
			line[file] = FNR
			stem[file] = source[i]
			sub(/.*\//, "", stem[file])
		}
	}
	next
}
{
	n = split($0, field, "\t")
	where = field[2] " " field[3]
	file = field[n]
	sub(/:.*/, "", file)
	n = split(field[1], byte, " ") - 1
	address = byte[1]
	for (i = 1; i <= n; i++)
		byte[i] = byte[i + 1]
}
# A header is that of the source whose name its own begins with.
file !~ /^sys\// || (file = owner(file)) == "" { next }
(++jumps - 1) % sample == 0 {
	k = split(kinds, kind, " ")
	for (i = 1; i <= k; i++)
		mutate(kind[i])
}
