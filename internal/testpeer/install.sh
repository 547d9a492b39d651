#!/bin/sh
# install.sh            installs from Debian whatever the tests need and this machine lacks, starting no service
# install.sh --assets   only what building the pages' files needs (Node and npm)
#
# Who is not root is told what to install, and the script ends with 1 when something is missing.
set -eu

missing=""
need() { # need PROGRAM PACKAGE…: the packages are wanted unless the program is there
	program=$1
	shift
	command -v "$program" >/dev/null 2>&1 || missing="$missing $*"
}
need_file() { # the same by a file; $1 may be a pattern
	set -- "$1" "$2" "$(ls -d $1 2>/dev/null | head -n 1)"
	[ -n "$3" ] || missing="$missing $2"
}

PATH="$PATH:/usr/sbin:/sbin"
need node nodejs
need npm npm
if [ "${1:-}" != --assets ]; then
	need gcc gcc
	need_file /usr/sbin/slapd slapd
	need_file /usr/sbin/dovecot dovecot-core
	need_file /usr/lib/dovecot/imap dovecot-imapd
	need_file /usr/lib/dovecot/lmtp dovecot-lmtpd
	need_file /usr/lib/dovecot/submission dovecot-submissiond
	need_file /usr/lib/dovecot/managesieve dovecot-managesieved
	need_file '/usr/lib/dovecot/modules/lib90_sieve_plugin.so' dovecot-sieve
	need_file '/usr/lib/dovecot/modules/lib21_fts_xapian_plugin.so' dovecot-fts-xapian
	need_file /usr/sbin/clamd clamav-daemon
	need radicale radicale
	need pdftotext poppler-utils
	need chromium chromium
	need oathtool oathtool
	need_file '/usr/lib/postgresql/*/bin/postgres' postgresql
	need_file /usr/sbin/apache2 apache2-bin
	need_file /usr/lib/apache2/modules/mod_auth_openidc.so libapache2-mod-auth-openidc
	need php php-cli
	need_file /etc/roundcube/defaults.inc.php "roundcube-core roundcube-sqlite3 php-sqlite3 php-curl"
	need_file /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf fonts-dejavu-core
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "Missing on this machine:$missing" >&2
	echo "Install them, or run this as root: sudo apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "Installing from Debian:$missing"
export DEBIAN_FRONTEND=noninteractive
export RUNLEVEL=1 # tells package scripts that this is no time to start services

# policy-rc.d tells them so again, on machines where RUNLEVEL is not asked
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi
apt_install() {
	# shellcheck disable=SC2086 # the list is meant to be split
	apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=900 -o Dpkg::Options::=--force-confold $missing
}
log=$(mktemp)
if ! { apt-get update -q && apt_install; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	rm -f "$log"
	echo "Debian's packages could not be installed." >&2
	exit 1
fi
rm -f "$log"
