# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion of the mote command for bash: commands, options, their values, guests, and the names of
# the functions that a guest exports (mote inspect --exports, which runs nothing of the guest).
# Names come from an image that may be hostile: those with other characters than a name of C has are
# left out, and nothing that the image says is expanded.

_mote_options() {
	case $1 in
	run) echo "--from --call --result --raw --output --repeat --restore --stats --timeout --log-level
		--init-data --heap --stack --input --output-buffer --scratch --image-max --memory-max
		--ignore-extensions --executable-heap --device --allow-unfiltered-msrs --trust-memory-without-verifying --accept-processor
		--bytes-max --tls-verify --quiet --json
		--help" ;;
	call) echo "--from --result --raw --output --repeat --restore --stats --timeout --log-level --init-data
		--heap --stack --input --output-buffer --scratch --image-max --memory-max
		--ignore-extensions --executable-heap --device --allow-unfiltered-msrs --trust-memory-without-verifying --accept-processor
		--bytes-max --tls-verify --quiet --json
		--help" ;;
	inspect) echo "--svg --exports --init-data --heap --stack --input --output-buffer --scratch --image-max
		--ignore-extensions --executable-heap --trust-memory-without-verifying --accept-processor
		--bytes-max --tls-verify --quiet --json --help" ;;
	doctor) echo "--device --json --help" ;;
	bench) echo "--from --result --iterations --creates --timeout --log-level --init-data --heap --stack
		--input --output-buffer --scratch --image-max --memory-max --ignore-extensions
		--executable-heap --device --allow-unfiltered-msrs --trust-memory-without-verifying --accept-processor
		--bytes-max --tls-verify --quiet --json --help" ;;
	esac
}

_mote_snapshot_options() {
	case $1 in
	list | tag | remove | gc) echo "--json --help" ;;
	verify) echo "--quiet --json --help" ;;
	push) echo "--tls-verify --quiet --json --help" ;;
	pull) echo "--bytes-max --tls-verify --quiet --json --help" ;;
	load) echo "--trust-memory-without-verifying --accept-processor --bytes-max --tls-verify
		--quiet --json --help" ;;
	inspect) echo "$(_mote_taking_options) --svg" ;;
	diff) echo "$(_mote_taking_options) --from" ;;
	save) echo "--new --metadata $(_mote_taking_options)" ;;
	*) _mote_taking_options ;;
	esac
}

# Of the commands that run a guest and take snapshots of it.
_mote_taking_options() {
	echo "--call --result --repeat --timeout --log-level --init-data --heap --stack --input
		--output-buffer --scratch --image-max --memory-max --ignore-extensions
		--executable-heap --device --allow-unfiltered-msrs --trust-memory-without-verifying
		--accept-processor --bytes-max --tls-verify --quiet --json --help"
}

# True for options that take a value.
_mote_takes_value() {
	case $1 in
	--call | --result | --output | --repeat | --from | --iterations | --creates | --svg | --timeout | \
		--log-level | --init-data | --heap | --stack | --input | --output-buffer | \
		--scratch | --image-max | --memory-max | --metadata | --bytes-max | --tls-verify | --device | -[ctonld]) return 0 ;;
	esac
	return 1
}

_mote_files() {
	local file
	compopt -o filenames 2>/dev/null
	while IFS= read -r file; do
		COMPREPLY+=("$file")
	done < <(compgen -f -- "$1")
}

_mote_exports() {
	local name
	[[ -f $1 ]] || return
	while IFS= read -r name; do
		[[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ && $name == "$2"* ]] && COMPREPLY+=("$name")
	done < <(mote inspect --exports -- "$1" 2>/dev/null)
}

_mote_words() {
	local word
	for word in $1; do
		[[ $word == "$2"* ]] && COMPREPLY+=("$word")
	done
}

# Fills operands with the words from number $1 to the cursor that are no options.
_mote_operands() {
	local i
	operands=()
	for ((i = $1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-?*) _mote_takes_value "${COMP_WORDS[i]}" && ((i++)) ;;
		*) operands+=("${COMP_WORDS[i]}") ;;
		esac
	done
}

# The value of the option $1, as far as it is typed: $2.
_mote_value() {
	case $1 in
	--log-level | -l) _mote_words "off error warn info debug trace" "$2" ;;
	--result | -t) _mote_words "void i32 u32 i64 u64 f32 f64 bool str bytes" "$2" ;;
	--call | -c) _mote_exports "${operands[0]-}" "$2" ;;
	--tls-verify) _mote_words "true false" "$2" ;;
	--from | --output | -o | --svg | --init-data | --device | -d) _mote_files "$2" ;;
	esac
}

# mote snapshot COMMAND, then a guest or stores, which are directories: $2 is being typed behind $1.
_mote_snapshot() {
	if ((COMP_CWORD == 2)); then
		_mote_words "take inspect diff flatten save load list verify tag remove gc push pull --help" "$2"
		return
	fi
	_mote_operands 3
	if _mote_takes_value "$1"; then
		_mote_value "$1" "$2"
	elif [[ $2 == -* ]]; then
		_mote_words "$(_mote_snapshot_options "${COMP_WORDS[2]}")" "$2"
	elif [[ ${#operands[@]} -eq 0 || ${COMP_WORDS[2]} == @(save|pull) ]]; then
		_mote_files "$2"
	fi
}

_mote() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]-} operands
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		_mote_words "run call inspect snapshot doctor bench help version --help --version" "$current"
		return
	fi
	if [[ $command == snapshot ]]; then
		_mote_snapshot "$previous" "$current"
		return
	fi
	_mote_operands 2
	if [[ $command == help && $previous == snapshot ]]; then
		_mote_words "take inspect diff flatten save load list verify tag remove gc push pull" "$current"
	elif [[ $command == help ]]; then
		_mote_words "run call inspect snapshot doctor bench" "$current"
	elif _mote_takes_value "$previous"; then
		_mote_value "$previous" "$current"
	elif [[ $current == -* ]]; then
		_mote_words "$(_mote_options "$command")" "$current"
	elif [[ $command != doctor && ${#operands[@]} -eq 0 ]]; then
		_mote_files "$current"
	elif [[ $command == call || $command == bench ]] && ((${#operands[@]} == 1)); then
		_mote_exports "${operands[0]}" "$current"
	fi
}

complete -F _mote mote
