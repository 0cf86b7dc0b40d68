# In a Debian of its own, as root: installs the packages beside this file, sends a message through them, and removes them.
set -euo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive

as() { runuser -u "$1" -- "${@:2}"; }
# FD WORDS: waits until a program says them there; the line is in $said.
wait_for() {
    local output=
    while IFS= read -r -t 60 -u "$1" said; do
        output+=$said$'\n'
        [[ $said != *$2* ]] || return 0
    done
    printf 'waited in vain for: %s\n%s' "$2" "$output" >&2
    exit 1
}

apt-get -qq update || true # without, the lists that came with this Debian
apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends ./*.deb procps >install.log 2>&1 || { cat install.log >&2; exit 1; }

[ "$(stat -c '%a %U' /etc/default/byocd)" = '640 root' ]
id byocd
test -f /lib/systemd/system/byocd.service

major=$(basename /etc/postgresql/[0-9]*)
# As README says.
byocd keyring generate --file /etc/postgresql/byoc.keyring
chown postgres: /etc/postgresql/byoc.keyring
cat >>/etc/postgresql/$major/main/postgresql.conf <<CONF
shared_preload_libraries = 'pg_byoc'
byoc.keyring_file = '/etc/postgresql/byoc.keyring'
CONF
pg_ctlcluster $major main restart
as postgres psql -qX -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pg_byoc' -c 'CREATE ROLE byocd LOGIN' -c "SELECT byoc.grant_dispatcher('byocd')" >/dev/null

account=AC00000000000000000000000000000001 token=00000000000000000000000000000001
echo "[{\"sid\": \"$account\", \"auth_token\": \"$token\", \"numbers\": [{\"phone_number\": \"+15550000001\", \"sms\": true}]}]" >/tmp/accounts.json
exec {simulator}< <(exec ./simulator --listen 127.0.0.1:0 --accounts /tmp/accounts.json 2>&1)
wait_for $simulator 'listening on '
set -a
. /etc/default/byocd
BYOC_TWILIO_BASE_URL=${said#listening on }
BYOC_LOG_LEVEL=debug
set +a
exec {output}< <(exec setpriv --reuid byocd --regid byocd --init-groups byocd run 2>&1)
byocd=$!
id=$(as postgres psql -qAtX -v ON_ERROR_STOP=1 -v account=$account -v token=$token <<'SQL'
SELECT byoc.create_organization('Clean root') AS org \gset
SELECT byoc.add_credential('twilio', jsonb_build_object('account_sid', :'account', 'auth_token', :'token', 'phone_number', '+15550000001'),
                           org_id => :'org') AS credential \gset
SELECT byoc.send_sms('+15550000002', 'from a clean root', org_id => :'org');
SQL
)
wait_for $output "message $id "
kill $byocd
wait $byocd # what it knows is recorded by then
[ "$(as postgres psql -qAtXc "SELECT status FROM byoc.sms_messages WHERE id = '$id'")" = sent ]
echo 'a message was sent'

apt-get -qq -y purge byocd postgresql-$major-byoc >/dev/null 2>&1
left=$(find / -xdev \( -path /proc -o -path /packages -o -path /var/lib/postgresql -o -path /var/log -o -path /tmp \) -prune -o -name '*byoc*' -print | grep -v '^/etc/postgresql/' || true)
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
echo 'nothing is left'
