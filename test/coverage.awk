# coverage.reasons, and then gcov's output for one file after another: a
# table, and what was missed.

BEGIN {
	n = split(strict, s, " ")
	for (i = 1; i <= n; i++)
		is_strict[s[i] ".c"] = is_wanted[s[i] ".c"] = 1
	n = split(rest, s, " ")
	for (i = 1; i <= n; i++)
		is_wanted[s[i] ".c"] = 1
	printf "" >missed
	printf "%-20s %14s %8s %16s %8s\n", "", "lines", "", "branches", ""
}

# FILE: SOURCE LINE: REASON, where a blank line and # say nothing.
FILENAME ~ /reasons$/ {
	if ($0 ~ /^#/ || $0 == "")
		next
	if ($0 !~ /^\t/) {
		source = $0
		next
	}
	sub(/^\t+/, "")
	reason[source] = reason[source] " " $0
	next
}

function percent(part, all) {
	return all ? sprintf("%.1f %%", 100 * part / all) : "-"
}

# Print the row of the file that ends here, and begin another.
function row() {
	if (file != "")
		printf "%-20s %6d / %5d %8s %8d / %5d %8s\n", file,
		    lines_hit, lines, percent(lines_hit, lines), taken,
		    branches, percent(taken, branches)
	lines = lines_hit = branches = taken = 0
}

function miss(what) {
	key = file ": " text
	if (!is_strict[file])
		print file ":" lineno ": " what ": " text >>missed
	else if (key in reason) {
		used[key] = 1
		if (!(key in told)) {
			explained[++nexplained] = sprintf("%s:%d: %s\n   %s",
			    file, lineno, text, reason[key])
			told[key] = 1
		}
	} else
		open[++nopen] = file ":" lineno ": " what ": " text
}

/^ *-: *0:Source:/ {
	row()
	file = $0
	sub(/.*[\/:]/, "", file)
	if (!(file in is_wanted))
		file = ""
	next
}
file == "" { next }

/^branch / {
	hit = $0 !~ /never executed|taken 0/
	if (assert && !hit)
		next
	branches++
	taken += hit
	if (!hit && reached)
		miss("branch " $2 " is never taken")
	next
}
/^(call|function|unconditional) / { next }

# COUNT:LINE:TEXT
{
	count = $0
	sub(/:.*/, "", count)
	gsub(/[ *]/, "", count)
	text = $0
	sub(/^[^:]*: *[0-9]+:/, "", text)
	lineno = $0
	sub(/^[^:]*: */, "", lineno)
	lineno += 0
	if (text ~ /KASSERT\(/)
		assert = 1
	else if (ended)
		assert = 0
	ended = text ~ /;/
	gsub(/^[ \t]+|[ \t]+$/, "", text)
	if (count == "-")
		next
	lines++
	reached = count !~ /#|=/
	lines_hit += reached
	if (!reached)
		miss("never executed")
}

END {
	row()
	print "\nThe failing side of each KASSERT is left out."
	for (i = 1; i <= nexplained; i++)
		print explained[i]
	for (key in reason)
		if (!(key in used) && groups == "" &&
		    reason[key] !~ /^ At times/) {
			print "a reason for what is not missed: " key
			bad = 1
		}
	for (i = 1; i <= nopen; i++)
		print "MISSED " open[i]
	exit bad || nopen > 0
}
