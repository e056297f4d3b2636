# SPDX-License-Identifier: GPL-2.0
#
# One mutant of the rules, applied to one of its files:
#
#	awk -v mutant=NAME -v file=WHICH -f apply.awk RULES FILE
#
# prints FILE as the mutant has it. Lines beginning with "-", one after another, and the
# lines beginning with "+" after them are a group: the first must be in FILE exactly once,
# and the second replace them. If one is not there, or is there more than once, or if a
# group changes nothing, the exit status is 1, and the last line printed says why.

function problem(text) {
	print mutant ": " text
	bad = 1
	exit 1
}

# What belongs to this mutant of the rules
FNR == NR {
	if (/^mutant /)
		of_mutant = $2 == mutant
	if (/^file /)
		of_file = $2 == file
	if (!of_mutant || !of_file)
		next
	if (/^-/) {
		if (!minus_last)
			groups++
		minus[groups, ++minuses[groups]] = substr($0, 2)
	} else if (/^\+/ && groups) {
		plus[groups, ++pluses[groups]] = substr($0, 2)
	}
	minus_last = /^-/
	next
}

{ line[++lines] = $0 }

function is_at(group, at,    i) {
	for (i = 1; i <= minuses[group]; i++)
		if (line[at + i - 1] != minus[group, i] || at + i - 1 in gone)
			return 0
	return 1
}

function changes_nothing(group,    i) {
	if (minuses[group] != pluses[group])
		return 0
	for (i = 1; i <= minuses[group]; i++)
		if (minus[group, i] != plus[group, i])
			return 0
	return 1
}

END {
	if (bad)
		exit 1
	if (!groups)
		problem("has no lines that begin with \"-\"")
	for (group = 1; group <= groups; group++) {
		found = 0
		for (at = 1; at <= lines; at++)
			if (is_at(group, at)) {
				found++
				where = at
			}
		if (found != 1)
			problem("group " group " is in " file " " found " times, not once:" minus[group, 1])
		if (changes_nothing(group))
			problem("group " group " changes nothing")
		for (i = 0; i < minuses[group]; i++)
			gone[where + i] = 1
		for (i = 1; i <= pluses[group]; i++)
			instead[where] = instead[where] plus[group, i] "\n"
	}
	for (at = 1; at <= lines; at++) {
		printf "%s", instead[at]
		if (!(at in gone))
			print line[at]
	}
}
