# From `nm -n`: the kernel's own table of symbols, sorted by address.
# Text and data both; what the assembler or the linker made up is left out.

BEGIN { n = len = 0 }
$2 !~ /^[TtDdBbRr]$/ || $3 ~ /^(\.|ksym_)/ { next }
{
	addr[n] = $1
	off[n++] = len
	names = names "\t\"" $3 "\\0\"\n"
	len += length($3) + 1
}
END {
	print "#include <stdint.h>"
	print "extern const unsigned long ksym_addr[];"
	print "extern const uint32_t ksym_name_off[];"
	print "extern const char ksym_names[];"
	print "extern const unsigned ksym_count;"
	printf "const unsigned ksym_count = %d;\n", n
	print "const unsigned long ksym_addr[] = {"
	for (i = 0; i < n; i++)
		printf "\t0x%sUL,\n", addr[i]
	print "\t0\n};\nconst uint32_t ksym_name_off[] = {"
	for (i = 0; i < n; i++)
		printf "\t%d,\n", off[i]
	print "\t0\n};\nconst char ksym_names[] =\n" names "\t\"\";"
}
