#!/bin/sh
# Makes what `docker compose up` needs and the repository cannot hold: a .env and a random secret per service.
# What is there already stays; only the commit in .env follows the checkout.
set -eu
umask 022
cd "$(dirname "$0")/../.."

[ -e .env ] || cp .env.example .env
if commit=$(git describe --always --dirty --abbrev=40 2>/dev/null); then
  sed -i.before "s/^#*DERMATRIAGE_COMMIT=.*/DERMATRIAGE_COMMIT=$commit/" .env && rm .env.before
fi

# docker-compose.yml asks for this line, so that whoever forgot this script is told of it.
grep -q '^SECRETS_FOLDER=.' .env || printf '\nSECRETS_FOLDER=%s\n' "${SECRETS_FOLDER:-./secrets}" >>.env
folder=$(sed -n 's/^SECRETS_FOLDER=//p' .env | tail -n 1)

command -v openssl >/dev/null || { echo "prepare.sh needs openssl, which makes the key that signs models." >&2; exit 1; }

# The folder keeps everyone else out; the files are readable because the containers' users, each another, have to.
mkdir -p -m 700 "$folder"
for name in postgres_password redis_password grafana_password; do
  [ -s "$folder/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
done

# Workers sign the models they make; the web service holds the public half, to which those of earlier keys may be added.
[ -s "$folder/signing_key" ] || openssl genpkey -algorithm ed25519 -out "$folder/signing_key"
chmod 644 "$folder/signing_key"
[ -s "$folder/verify_keys" ] || openssl pkey -in "$folder/signing_key" -pubout -out "$folder/verify_keys"
