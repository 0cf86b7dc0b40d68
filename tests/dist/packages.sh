# In a Debian of its own, as root: installs the packages beside this file, sends a message through them, and removes them.
set -euo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive

until_true() { timeout 60 bash -c 'until "$@"; do sleep 0.1; done' -- "$@" || { echo "waited in vain for: $*" >&2; tail /tmp/byocd.log >&2; exit 1; }; }
as() { runuser -u "$1" -- "${@:2}"; }
export -f as

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
until_true as postgres pg_isready -q
as postgres psql -qX -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pg_byoc' -c 'CREATE ROLE byocd LOGIN' -c "SELECT byoc.grant_dispatcher('byocd')" >/dev/null

account=AC00000000000000000000000000000001 token=00000000000000000000000000000001
echo "[{\"sid\": \"$account\", \"auth_token\": \"$token\", \"numbers\": [{\"phone_number\": \"+15550000001\", \"sms\": true}]}]" >/tmp/accounts.json
./simulator --listen 127.0.0.1:0 --port-file /tmp/simulator.port --accounts /tmp/accounts.json >/tmp/simulator.log 2>&1 &
until_true test -s /tmp/simulator.port
set -a
. /etc/default/byocd
BYOC_TWILIO_BASE_URL=http://127.0.0.1:$(cat /tmp/simulator.port)
set +a
setpriv --reuid byocd --regid byocd --init-groups byocd run >/tmp/byocd.log 2>&1 &
byocd=$!
id=$(as postgres psql -qAtX -v ON_ERROR_STOP=1 -v account=$account -v token=$token <<'SQL'
SELECT byoc.create_organization('Clean root') AS org \gset
SELECT byoc.add_credential('twilio', jsonb_build_object('account_sid', :'account', 'auth_token', :'token', 'phone_number', '+15550000001'),
                           org_id => :'org') AS credential \gset
SELECT byoc.send_sms('+15550000002', 'from a clean root', org_id => :'org');
SQL
)
sent() { [ "$(as postgres psql -qAtXc "SELECT status FROM byoc.sms_messages WHERE id = '$id'")" = sent ]; }
export -f sent
export id
until_true sent
echo 'a message was sent'

kill $byocd
wait $byocd
apt-get -qq -y purge byocd postgresql-$major-byoc >/dev/null 2>&1
left=$(find / -xdev \( -path /proc -o -path /packages -o -path /var/lib/postgresql -o -path /var/log -o -path /tmp \) -prune -o -name '*byoc*' -print | grep -v '^/etc/postgresql/' || true)
[ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
echo 'nothing is left'
