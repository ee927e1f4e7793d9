# mutate.reasons, the results (mutant, test that killed it or -) and the
# mutants: a table, and who survived.

FILENAME ~ /reasons$/ {
	if ($0 ~ /^#/ || $0 == "")
		next
	if ($0 !~ /^\t/) {
		key = $0
		next
	}
	sub(/^\t+/, "")
	reason[key] = reason[key] " " $0
	next
}
FILENAME ~ /results$/ {
	killer[$1] = $2
	next
}

# The text of a line of source.
function source(file, line,    path, i, s) {
	path = root "/" file
	if (!(file in read)) {
		read[file] = 1
		for (i = 1; (getline s <path) > 0; i++) {
			gsub(/^[ \t]+|[ \t]+$/, "", s)
			src[file, i] = s
		}
		close(path)
	}
	return src[file, line]
}

# [KIND] FILE [(FUNCTION)]: TEXT, as the reason has it.
function named(file, kind, func_name, text,    i, key) {
	for (i = 0; i < 4; i++) {
		key = (i % 2 ? kind " " : "") file \
		    (i < 2 ? "" : " (" func_name ")") ": " text
		if (key in reason)
			break
	}
	return key
}

function percent(part, all) { return all ? 100 * part / all : 100 }

{
	id = $1
	kind = $5
	split($7, at, ":")
	file = at[1]
	sub(/.*\//, "", file)
	if (!(file in mutants))
		files[++nfiles] = file
	mutants[file]++
	nmutants++
	if (killer[id] != "-" && killer[id] != "") {
		killed[file]++
		nkilled++
		by[killer[id]]++
		next
	}
	text = source(at[1], at[2])
	why = named(file, kind, $6, text)
	told = (why in reason) ? reason[why] : ""
	used[why] = 1
	unexplained += told == ""
	survivor[++n] = sprintf("%s %s:%s (%s): %s\n   %s", kind, file,
	    at[2], $6, text, told == "" ? " NOT EXPLAINED" : told)
}

END {
	printf "%-20s %8s %8s %8s\n", "", "mutants", "killed", ""
	for (i = 1; i <= nfiles; i++)
		printf "%-20s %8d %8d %6.1f %%\n", files[i],
		    mutants[files[i]], killed[files[i]],
		    percent(killed[files[i]], mutants[files[i]])
	printf "%-20s %8d %8d %6.1f %%\n", "together", nmutants, nkilled,
	    percent(nkilled, nmutants)
	printf "\nkilled by"
	for (t in by)
		printf " %s %d", t, by[t]
	printf "\n\n%d survived\n", n
	for (i = 1; i <= n; i++)
		print survivor[i]
	for (key in reason)
		if (!(key in used) && sample == 1 && groups == "")
			print "a reason for what does not survive: " key
	exit unexplained > 0 || percent(nkilled, nmutants) < 95
}
